//! The services the pool knows, as data.
//!
//! A service is a row: which adapter speaks to it, where it lives, and where its dialect differs from its family's.
//! A quirk of a vendor is a field of its row, never an `if` on its name.

use super::capabilities::{Capabilities, Capability};
use super::embed;
use super::facts::{self, Rows};
use super::json_schema::{self, Rules};
use super::models::{CLAUDE_MODELS, COHERE_MODELS, GEMINI_MODELS, GROK_MODELS, ModelRule, Models, OPENAI_MODELS};
use super::models_list::{self, ModelsList};
use super::rate_headers;

/// Which wire dialect family a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// OpenAI chat completions and everything shaped like it.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Cohere's chat, version 2.
    Cohere,
    /// Ollama's `/api/chat`.
    Ollama,
}

/// One known service.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// The `type` of a provider in the configuration, and the key of its part of `extra_body`.
    pub name: &'static str,
    /// The adapter that translates for it.
    pub adapter: AdapterKind,
    /// Where it lives when the configuration does not say; `None`: the configuration has to.
    pub base_url: Option<&'static str>,
    /// Whether it answers only with a key.
    pub needs_key: bool,
    pub(super) root: Root,
    pub(super) dialect: Dialect,
}

/// What completes a base URL that was pasted without its version path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// A base with a path of its own is used as it is, as OpenAI's SDKs do; a bare origin gets this one.
    IfBare(&'static str),
    /// Always ends in this: the official SDK takes the base without it, others with it.
    Always(&'static str),
    /// The path of its own or nothing: there is no version in it.
    AsIs,
    /// A bare origin gets this one. With a deployment, the path goes by its parent and the deployment instead, and
    /// the query names the version of the API.
    Deployments(&'static str),
}

/// Which header carries the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// `Authorization: Bearer`.
    Bearer,
    /// The key alone, in a header of its own.
    Header(&'static str),
}

/// Which orders of messages a service accepts. What it does not is mended where that loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    Any,
    /// The result of a tool is followed by an assistant message, and none of those is empty.
    Replies,
    /// User and assistant take turns.
    Alternate,
}

/// Which addresses of images and files a service reads by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetches {
    /// Whatever the web has.
    Web,
    /// What begins like one of these.
    Only(&'static [&'static str]),
}

/// How a file part is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// `file`, as OpenAI has it.
    AsIs,
    /// `document_url`, a data URI or an address (Mistral).
    Documents,
    /// Not at all: the request is refused.
    None,
}

/// How an audio part is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audio {
    /// `input_audio`, as OpenAI has it.
    AsIs,
    /// `input_audio` as bare base64 (Mistral).
    Bare,
    /// Not at all: the request is refused.
    None,
}

/// How an answer is made to fit a schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structured {
    /// What the service's own field for a schema takes; `None`: it has no such field.
    pub native: Option<&'static Rules>,
    /// The same where a request asks for `strict`, if that is another thing here.
    pub strict: Option<&'static Rules>,
    /// Whether there is a plain mode of JSON without a schema.
    pub json_mode: bool,
    /// Which models take either of them beside tools.
    pub beside_tools: Beside,
    /// What is done where the field is not there, or the model has none.
    pub otherwise: Otherwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// A tool is offered that must be called, and its arguments are the answer: the schema stands where the model has
    /// learned to read one.
    Tool,
    /// The schema is told in words, beside the plain mode of JSON where there is one: forcing a tool is refused or
    /// ignored.
    Words,
}

/// Which models take two things beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    All,
    None,
    AllBut(&'static [Models]),
}

impl Beside {
    pub fn contain(self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::AllBut(others) => !others.iter().any(|models| models.contain(model)),
        }
    }
}

/// What of an answer's reasoning goes back with the message, in the OpenAI family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    None,
    /// `reasoning_details`, whole.
    Details,
    /// `reasoning_content`, beside calls.
    Content,
    /// The `extra_content` of each call: Gemini's compatible base keeps its signatures there.
    Calls,
}

/// Names of request fields. `messages[].x` is a field of every message.
pub(super) type Fields = &'static [&'static str];

/// How a service's wire differs inside its family.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// The field that bounds the answer.
    pub max_tokens: &'static str,
    /// Whether there is a `developer` role; otherwise it is sent as `system`.
    pub developer_role: bool,
    /// Whether a stream reports usage only when `stream_options.include_usage` asks for it. Where it then arrives
    /// (an extra chunk, the finish chunk, `x_groq`) needs no row: the decoder looks at all three.
    pub include_usage: bool,
    /// Whether `logprobs` is the number of alternatives instead of a switch beside `top_logprobs`.
    pub logprobs_is_count: bool,
    /// Fields that have another name here: ours, then its own.
    pub renames: &'static [(&'static str, &'static str)],
    /// Its word for `tool_choice: "required"`.
    pub required: &'static str,
    /// How it is asked for an answer that fits a schema.
    pub structured: Structured,
    /// Whether `reasoning_effort` is a field of an object `reasoning`.
    pub reasoning_object: bool,
    /// Whether `thinking: {type}` switches reasoning on and off beside `reasoning_effort`.
    pub thinking_switch: bool,
    /// Whether some of its models think aloud: `<think>…</think>` at the start of the answer.
    pub think_tags: bool,
    /// What of an answer's reasoning it wants back.
    pub echo: Echo,
    /// What it takes of the schema of a tool's parameters, and where the tool is to be kept to strictly.
    pub tool_schemas: &'static Rules,
    pub strict_tools: Option<&'static Rules>,
    pub turns: Turns,
    /// The `object` of the last chunk of a stream that has no `[DONE]`.
    pub end_object: Option<&'static str>,
    /// Request fields it does not take.
    pub refuses: &'static [Fields],
    /// What single models do not take; the first row that matches counts.
    pub models: &'static [ModelRule],
    /// Which addresses of images and files it reads by itself.
    pub fetches: Fetches,
    /// Whether messages of others than the user may hold more than text, in the OpenAI family: pictures that a tool
    /// made.
    pub media_anywhere: bool,
    /// How it takes files and audio, in the OpenAI family.
    pub files: Files,
    pub audio: Audio,
    /// Which ids of tool calls it accepts.
    pub tool_ids: IdRule,
    pub auth: Auth,
    /// How it makes embeddings, if it does.
    pub embeddings: Option<embed::Rule>,
    /// What none of its models can do.
    pub cannot: Capabilities,
    /// What is known of single models, by whose they are.
    pub facts: &'static [Rows],
    /// Headers that carry the `organization` and the `project` of a provider.
    pub organization_header: Option<&'static str>,
    pub project_header: Option<&'static str>,
    /// The headers that say what is left of its limits.
    pub rate_headers: &'static rate_headers::Table,
    /// Where it lists its models, if it does so reliably.
    pub models_list: Option<ModelsList>,
}

/// Ids of tool calls that a service accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRule {
    pub max_len: usize,
    /// Only letters, digits, `_` and `-`.
    pub word: bool,
    /// Exactly so many letters and digits.
    pub exactly: Option<usize>,
}

/// The service with this name.
///
/// ```
/// assert!(llmpool::adapter::service("groq").is_some_and(|groq| groq.needs_key));
/// ```
pub fn service(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// Every service, in the order documentation lists them.
pub fn services() -> &'static [Service] {
    SERVICES
}

// === the services ===

/// Fields of OpenAI's own platform that the model hosts below do not have: absent from the request types of groq-sdk
/// 1.6.0 and together-ai 0.52.0, or described there as not supported. Groq answers 400 to an unknown field, Mistral 422.
const PLATFORM: Fields = &[
    "audio",
    "metadata",
    "modalities",
    "moderation",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "verbosity",
];
/// Fields of the same platform that some hosts took over.
const PREDICTION: Fields = &["prediction"];
const CACHE_KEY: Fields = &["prompt_cache_key"];
const WEB_SEARCH: Fields = &["web_search_options"];
/// What came before `tools`.
const FUNCTIONS: Fields = &["functions", "function_call"];
const PENALTIES: Fields = &["presence_penalty", "frequency_penalty"];
const LOGPROBS: Fields = &["logprobs", "top_logprobs"];
const TOOLS: Fields = &["tools", "tool_choice", "parallel_tool_calls"];

const ANY_ID: IdRule = IdRule { max_len: usize::MAX, word: false, exactly: None };

const NOTHING: Capabilities = Capabilities::of(&[]);
/// Sound and files have no place in these dialects.
const NEITHER_SOUND_NOR_FILES: Capabilities = Capabilities::of(&[Capability::Audio, Capability::Files]);

/// `/embeddings` of hosts of many models: what they copied of OpenAI's is not known to the last field, so nothing is
/// asked for beyond vectors. The longest are those of models made from chat models of 7 billion weights.
const EMBEDDINGS: embed::Rule = embed::Rule {
    path: "/embeddings",
    inputs: 2_048,
    tokens: None,
    dimensions: Some("dimensions"),
    base64: false,
    takes_tokens: true,
    longest: 4_096,
};

/// Services that took over OpenAI's field for a schema, without its strict mode, and say nothing of its limits. Where one of
/// their models has none, nothing is known of its tools either, and words are what every model reads.
const COPIED: Structured = Structured {
    native: Some(&json_schema::ANY),
    strict: None,
    json_mode: true,
    beside_tools: Beside::All,
    otherwise: Otherwise::Words,
};

const OPENAI: Dialect = Dialect {
    // `max_tokens` is deprecated and a 400 on reasoning models; every chat model takes this one (OpenAPI 2.3.0).
    max_tokens: "max_completion_tokens",
    developer_role: true,
    include_usage: true,
    logprobs_is_count: false,
    renames: &[],
    required: "required",
    // Models before gpt-4o-2024-08-06 have functions and no schema.
    structured: Structured {
        native: Some(&json_schema::OPENAI),
        strict: Some(&json_schema::STRICT),
        json_mode: true,
        beside_tools: Beside::All,
        otherwise: Otherwise::Tool,
    },
    reasoning_object: false,
    thinking_switch: false,
    think_tags: false,
    echo: Echo::None,
    tool_schemas: &json_schema::ANY,
    strict_tools: Some(&json_schema::STRICT),
    turns: Turns::Any,
    end_object: None,
    refuses: &[],
    fetches: Fetches::Web,
    media_anywhere: false,
    files: Files::AsIs,
    audio: Audio::AsIs,
    models: OPENAI_MODELS,
    tool_ids: IdRule { max_len: 40, ..ANY_ID },
    auth: Auth::Bearer,
    // The OpenAPI document: at most 2,048 inputs and 300,000 tokens. `dimensions` from text-embedding-3 on.
    embeddings: Some(embed::Rule {
        path: "/embeddings",
        inputs: 2_048,
        tokens: Some(300_000),
        dimensions: Some("dimensions"),
        base64: true,
        takes_tokens: true,
        longest: 3_072,
    }),
    cannot: NOTHING,
    facts: &[facts::OPENAI],
    organization_header: Some("openai-organization"),
    project_header: Some("openai-project"),
    rate_headers: &rate_headers::OPENAI,
    models_list: Some(models_list::OPENAI),
};

const SERVICES: &[Service] = &[
    Service {
        name: "openai",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.openai.com/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: OPENAI,
    },
    Service {
        name: "groq",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.groq.com/openai/v1"),
        needs_key: true,
        root: Root::IfBare("/openai/v1"),
        dialect: Dialect {
            // 400 "json mode cannot be combined with tool/function calling"; a forced tool that its models call wrongly is
            // a 400, too (`tool_use_failed`).
            structured: Structured { beside_tools: Beside::None, otherwise: Otherwise::Words, ..OPENAI.structured },
            developer_role: false,
            include_usage: false, // comes in `x_groq.usage` by itself
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                PENALTIES,
                LOGPROBS,
                &["logit_bias"],
                // Named in Groq's compatibility notes as a 400.
                &["messages[].name", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            files: Files::None,
            audio: Audio::None,
            cannot: NEITHER_SOUND_NOR_FILES,
            facts: &[facts::GROQ],
            embeddings: Some(embed::Rule { dimensions: None, takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
    Service {
        name: "together",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.together.xyz/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: Dialect {
            structured: COPIED,
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false, // comes with the finish chunk by itself
            logprobs_is_count: true,
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                &["user", "functions", "service_tier", "parallel_tool_calls", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::TOGETHER,
            files: Files::None,
            think_tags: true,
            facts: &[],
            embeddings: Some(embed::Rule { dimensions: None, takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
    // Body and stream are OpenAI's; a resource has an address of its own. The key goes in `api-key`; a token of Entra ID
    // goes in `headers`. Sources: npm openai 6.49.0 `src/azure.ts`, @ai-sdk/azure 3.0.128.
    Service {
        name: "azure",
        adapter: AdapterKind::OpenAi,
        base_url: None,
        needs_key: true,
        root: Root::Deployments("/openai/v1"),
        dialect: Dialect {
            structured: Structured { strict: Some(&json_schema::AZURE_STRICT), ..OPENAI.structured },
            strict_tools: Some(&json_schema::AZURE_STRICT),
            auth: Auth::Header("api-key"),
            organization_header: None,
            project_header: None,
            facts: &[],
            ..OPENAI
        },
    },
    // Sources: mistralai 3.7.0 (PyPI), @ai-sdk/mistral 3.0.69; an unknown field is a 422.
    Service {
        name: "mistral",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.mistral.ai/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: Dialect {
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false, // comes with the finish chunk by itself
            renames: &[("seed", "random_seed")],
            required: "any",
            structured: Structured { native: Some(&json_schema::MISTRAL), ..COPIED },
            tool_schemas: &json_schema::MISTRAL,
            strict_tools: None,
            turns: Turns::Replies,
            refuses: &[
                PLATFORM,
                WEB_SEARCH,
                FUNCTIONS,
                &["logit_bias", "user", "messages[].name", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: IdRule { exactly: Some(9), ..ANY_ID },
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::MISTRAL,
            files: Files::Documents,
            audio: Audio::Bare,
            facts: &[facts::MISTRAL],
            embeddings: Some(embed::Rule {
                inputs: 32,           // @ai-sdk/mistral 3.0.69
                tokens: Some(16_000), // "Too many tokens in batch": 16,384
                dimensions: Some("output_dimension"),
                takes_tokens: false,
                ..EMBEDDINGS
            }),
            ..OPENAI
        },
    },
    // Sources: @ai-sdk/deepseek 2.0.69, api-docs.deepseek.com. It drops the penalties in silence; we say so.
    Service {
        name: "deepseek",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.deepseek.com"),
        needs_key: true,
        root: Root::AsIs, // `/v1` is an alias
        dialect: Dialect {
            max_tokens: "max_tokens",
            developer_role: false,
            renames: &[("user", "user_id")],
            // Its models think unless they are told not to, and then refuse a tool that must be called: 400 "Thinking mode
            // does not support this tool_choice" (deepseek-ai/DeepSeek-V3#1376).
            structured: Structured { native: None, ..COPIED },
            strict_tools: None,
            thinking_switch: true,
            echo: Echo::Content,
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                FUNCTIONS,
                PENALTIES,
                &["seed", "logit_bias", "parallel_tool_calls", "service_tier", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::NONE,
            files: Files::None,
            audio: Audio::None,
            cannot: NEITHER_SOUND_NOR_FILES,
            facts: &[facts::DEEPSEEK],
            embeddings: None,
            ..OPENAI
        },
    },
    // Passes on what the chosen upstream takes and leaves out the rest by itself, so nothing is held back here.
    // Source: @openrouter/ai-sdk-provider 2.10.0.
    Service {
        name: "openrouter",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://openrouter.ai/api/v1"),
        needs_key: true,
        root: Root::IfBare("/api/v1"),
        dialect: Dialect {
            max_tokens: "max_tokens",
            include_usage: false, // always in the last chunk
            reasoning_object: true,
            media_anywhere: true, // the models behind it differ in that
            echo: Echo::Details,
            refuses: &[FUNCTIONS, &["messages[].refusal"]],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::OPENROUTER,
            models_list: Some(models_list::PUBLIC),
            facts: &[facts::OPENAI, facts::CLAUDE, facts::GEMINI, facts::GROK, facts::SONAR],
            embeddings: Some(EMBEDDINGS),
            ..OPENAI
        },
    },
    // Source: @ai-sdk/xai 3.0.138.
    Service {
        name: "xai",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.x.ai/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: Dialect {
            structured: Structured { native: Some(&json_schema::XAI), ..COPIED },
            tool_schemas: &json_schema::XAI,
            strict_tools: None,
            developer_role: false,
            refuses: &[PLATFORM, PREDICTION, CACHE_KEY, FUNCTIONS, &["service_tier", "messages[].refusal"]],
            models: GROK_MODELS,
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            files: Files::None,
            audio: Audio::None,
            facts: &[facts::GROK],
            embeddings: None,
            ..OPENAI
        },
    },
    // Source: @ai-sdk/fireworks 2.0.90; an unknown field is a 400 "Extra inputs are not permitted".
    Service {
        name: "fireworks",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        needs_key: true,
        root: Root::IfBare("/inference/v1"),
        dialect: Dialect {
            structured: Structured { native: Some(&json_schema::FIREWORKS), ..COPIED },
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false, // comes with the finish chunk by itself
            required: "any",
            refuses: &[
                PLATFORM,
                PREDICTION,
                WEB_SEARCH,
                FUNCTIONS,
                &["parallel_tool_calls", "service_tier", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::FIREWORKS,
            files: Files::None,
            audio: Audio::None,
            facts: &[],
            embeddings: Some(embed::Rule { takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
    // Source: @ai-sdk/perplexity 3.0.61. Its answers come from a search; there are no tools.
    Service {
        name: "perplexity",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.perplexity.ai"),
        needs_key: true,
        root: Root::AsIs, // its own base has no version; `/v1` is for embeddings
        dialect: Dialect {
            // There are no tools and no plain JSON mode.
            structured: Structured { native: Some(&json_schema::PERPLEXITY), json_mode: false, ..COPIED },
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false, // in every chunk, growing
            turns: Turns::Alternate,
            end_object: Some("chat.completion.done"),
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                FUNCTIONS,
                TOOLS,
                LOGPROBS,
                &["seed", "stop", "logit_bias", "user", "service_tier", "messages[].name", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::NONE,
            models_list: None,
            files: Files::None,
            audio: Audio::None,
            think_tags: true,
            cannot: Capabilities::of(&[Capability::Tools, Capability::ParallelTools, Capability::Audio]),
            facts: &[facts::SONAR],
            embeddings: Some(embed::Rule { path: "/v1/embeddings", inputs: 512, takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
    // vLLM, llama.cpp, LM Studio, proxies: whatever they do not know they mostly ignore, so nothing is held back. The
    // models are OpenAI's own where a proxy or Azure stands in front of them.
    Service {
        name: "openai-compatible",
        adapter: AdapterKind::OpenAi,
        base_url: None,
        needs_key: false,
        root: Root::IfBare("/v1"),
        dialect: Dialect {
            // Who has no schema often has no parser for tools either.
            structured: COPIED,
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            tool_ids: ANY_ID,
            media_anywhere: true,
            think_tags: true, // servers without a parser for the model's reasoning
            echo: Echo::Calls,
            facts: &[],
            models_list: Some(models_list::PUBLIC), // whether a key is wanted at all, nobody knows
            embeddings: Some(EMBEDDINGS),
            ..OPENAI
        },
    },
    Service {
        name: "anthropic",
        adapter: AdapterKind::Anthropic,
        base_url: Some("https://api.anthropic.com"),
        needs_key: true,
        root: Root::Always("/v1"),
        dialect: Dialect {
            // There is no plain JSON mode; before 4.5 a forced tool is what Anthropic's own pages say.
            structured: Structured {
                native: Some(&json_schema::ANTHROPIC),
                strict: None,
                json_mode: false,
                beside_tools: Beside::All,
                otherwise: Otherwise::Tool,
            },
            strict_tools: Some(&json_schema::ANTHROPIC),
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false,
            // Request type of @anthropic-ai/sdk 1.12.0: it has no such fields.
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                PENALTIES,
                LOGPROBS,
                FUNCTIONS,
                &["logit_bias", "seed", "messages[].name"],
            ],
            models: CLAUDE_MODELS,
            tool_ids: IdRule { word: true, ..ANY_ID }, // 400 unless it matches ^[a-zA-Z0-9_-]+$
            auth: Auth::Header("x-api-key"),
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::ANTHROPIC,
            models_list: Some(models_list::ANTHROPIC),
            cannot: Capabilities::of(&[Capability::Audio]),
            facts: &[facts::CLAUDE],
            embeddings: None,
            ..OPENAI
        },
    },
    // Source: the types of @google/genai 2.32.0; an unknown field is a 400. The key goes in a header: a query is logged.
    Service {
        name: "gemini",
        adapter: AdapterKind::Gemini,
        base_url: Some("https://generativelanguage.googleapis.com/v1beta"),
        needs_key: true,
        root: Root::IfBare("/v1beta"),
        dialect: Dialect {
            // Before 3 a JSON answer beside tools is a 400; Gemma has neither.
            structured: Structured {
                native: Some(&json_schema::GEMINI),
                beside_tools: Beside::AllBut(&[
                    Models::Prefix("gemma"),
                    Models::Versions { prefixes: &["gemini-"], from: (1, 0), below: (3, 0) },
                ]),
                ..COPIED
            },
            tool_schemas: &json_schema::GEMINI,
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false,
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                LOGPROBS,
                FUNCTIONS,
                &["logit_bias", "service_tier", "user", "messages[].name"],
            ],
            models: GEMINI_MODELS,
            tool_ids: ANY_ID,
            auth: Auth::Header("x-goog-api-key"),
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::NONE,
            models_list: Some(models_list::GEMINI),
            // Its Files API, Cloud Storage, YouTube.
            fetches: Fetches::Only(&[
                "https://generativelanguage.googleapis.com/",
                "gs://",
                "https://www.youtube.com/",
                "https://youtube.com/",
                "https://youtu.be/",
            ]),
            facts: &[facts::GEMINI],
            embeddings: Some(embed::Rule {
                path: ":batchEmbedContents",
                inputs: 100, // @ai-sdk/google 3.0.141
                takes_tokens: false,
                longest: 3_072,
                ..EMBEDDINGS
            }),
            ..OPENAI
        },
    },
    // Sources: cohere 7.3.1 (PyPI), npm cohere-ai 8.1.0; an unknown field is a 422.
    Service {
        name: "cohere",
        adapter: AdapterKind::Cohere,
        base_url: Some("https://api.cohere.com"),
        needs_key: true,
        root: Root::Always("/v2"),
        dialect: Dialect {
            // "Not supported with tools": a 400. All of its models that have tools have a schema, too.
            structured: Structured { native: Some(&json_schema::COHERE), beside_tools: Beside::None, ..COPIED },
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false,
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                FUNCTIONS,
                &["top_logprobs", "logit_bias", "service_tier", "user", "messages[].name"],
            ],
            models: COHERE_MODELS,
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::COHERE,
            models_list: Some(models_list::COHERE),
            cannot: NEITHER_SOUND_NOR_FILES,
            facts: &[facts::COHERE],
            embeddings: Some(embed::Rule { path: "/embed", inputs: 96, takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
    // Source: ollama/ollama at fb30760, `api/types.go`. No key is needed on one's own machine; its cloud takes a bearer.
    Service {
        name: "ollama",
        adapter: AdapterKind::Ollama,
        base_url: Some("http://localhost:11434"),
        needs_key: false,
        root: Root::Always("/api"),
        dialect: Dialect {
            // `format` is a grammar for whatever the model writes: beside it no tool is ever called (ollama/ollama#11037).
            structured: Structured { native: Some(&json_schema::OLLAMA), beside_tools: Beside::None, ..COPIED },
            strict_tools: None,
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false,
            refuses: &[
                PLATFORM,
                PREDICTION,
                CACHE_KEY,
                WEB_SEARCH,
                FUNCTIONS,
                &["logit_bias", "service_tier", "user", "messages[].name"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            rate_headers: &rate_headers::NONE,
            models_list: Some(models_list::OLLAMA),
            fetches: Fetches::Only(&[]),
            cannot: NEITHER_SOUND_NOR_FILES,
            facts: &[],
            embeddings: Some(embed::Rule { path: "/embed", takes_tokens: false, ..EMBEDDINGS }),
            ..OPENAI
        },
    },
];

// === impl Dialect ===

impl Dialect {
    /// Whether the service takes this field, whatever its models do.
    pub(super) fn takes(&self, field: &str) -> bool {
        !self.refuses.iter().any(|fields| fields.contains(&field))
    }

    /// Whether the service reads what stands at this address by itself.
    pub(super) fn reads(&self, url: &str) -> bool {
        match self.fetches {
            Fetches::Web => true,
            Fetches::Only(starts) => starts.iter().any(|start| url.starts_with(start)),
        }
    }

    /// The name a field has here.
    pub(super) fn name_of<'f>(&self, field: &'f str) -> &'f str {
        self.renames.iter().find(|(ours, _)| *ours == field).map_or(field, |(_, theirs)| theirs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Endpoint, EndpointParams};
    use super::*;
    use crate::types::{ChatRequest, Message, Role};

    #[test]
    fn every_refused_field_is_a_field_of_a_request() {
        const OWN: &[&str] = &[
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "stop",
            "seed",
            "parallel_tool_calls",
            "response_format",
            "reasoning_effort",
            "user",
            "metadata",
            "tools",
            "tool_choice",
            "messages[].name",
            "messages[].refusal",
        ];
        for service in services() {
            let models =
                service.dialect.models.iter().flat_map(|rule| rule.refuses.iter().chain(rule.refuses_reasoning));
            for field in service.dialect.refuses.iter().chain(models).copied().flatten() {
                assert!(OWN.contains(field) || ChatRequest::OPENAI_FIELDS.contains(field), "{}: {field}", service.name);
            }
        }
    }

    /// The body of a request in a dialect.
    fn wire(dialect: Dialect) -> serde_json::Value {
        let service: &'static Service = Box::leak(Box::new(Service {
            name: "invented",
            adapter: AdapterKind::OpenAi,
            base_url: Some("http://localhost/v1"),
            needs_key: false,
            root: Root::AsIs,
            dialect,
        }));
        let endpoint = Endpoint::new(EndpointParams::new(service)).expect("valid");
        let request = ChatRequest {
            messages: vec![Message { name: Some("n".to_owned()), ..Message::text(Role::Developer, "hi") }],
            seed: Some(7),
            max_tokens: Some(9),
            reasoning_effort: Some("low".to_owned()),
            ..ChatRequest::default()
        };
        let encoded = endpoint.encode_chat(&request, "m", true, &[]).expect("encodes");
        serde_json::from_slice(&encoded.body).expect("JSON")
    }

    #[test]
    fn a_changed_row_changes_the_wire() {
        let plain = wire(OPENAI);
        assert_eq!((&plain["max_completion_tokens"], &plain["seed"]), (&json!(9), &json!(7)));
        let changed = wire(Dialect { max_tokens: "max_output", ..OPENAI });
        assert_eq!((&changed["max_output"], changed.get("max_completion_tokens")), (&json!(9), None));
        let changed = wire(Dialect { renames: &[("seed", "dice")], ..OPENAI });
        assert_eq!((&changed["dice"], changed.get("seed")), (&json!(7), None));
        let changed = wire(Dialect { refuses: &[&["seed", "messages[].name"]], ..OPENAI });
        assert_eq!((changed.get("seed"), changed["messages"][0].get("name")), (None, None));
        let changed = wire(Dialect { developer_role: false, ..OPENAI });
        assert_eq!(changed["messages"][0]["role"], "system");
        let changed = wire(Dialect { include_usage: false, ..OPENAI });
        assert_eq!(changed.get("stream_options"), None);
        let changed = wire(Dialect { reasoning_object: true, ..OPENAI });
        assert_eq!(changed["reasoning"], json!({ "effort": "low" }));
    }

    #[test]
    fn names_are_unique_and_found() {
        for wanted in services() {
            assert_eq!(service(wanted.name).map(|found| found.name), Some(wanted.name));
            assert_eq!(services().iter().filter(|other| other.name == wanted.name).count(), 1);
        }
        assert_eq!(service("OpenAI"), None);
    }
}
