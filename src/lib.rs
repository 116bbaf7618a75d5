//! llmpool answers a chat request by the best LLM provider that can answer it, whatever breaks upstream: failover,
//! retries within a budget, circuit breakers, rate limits and cost, in one library and without a server.
//!
//! [`LlmPoolBuilder`] says in code what a configuration file says, and has it checked by the same check; [`LlmPool`] is the
//! pool, [`LlmClient`] one provider of it. What a program needs stands here at the root; [`config`], [`error`], [`types`],
//! [`event`], [`pool`] and [`analysis`] have the rest. `docs/rust.md` is the guide.
//!
//! ```no_run
//! use llmpool::{Behaviour, ChatRequest, LlmClient, LlmPoolBuilder};
//!
//! # async fn answer() -> Result<(), llmpool::Error> {
//! let pool = LlmPoolBuilder::new()
//!     .behaviour(Behaviour::Failover)
//!     .client(1, LlmClient::builder("groq", "llama-3.3-70b-versatile").api_key("${GROQ_API_KEY}"))
//!     .client(2, LlmClient::builder("openai", "gpt-4o").api_key("${OPENAI_API_KEY}"))
//!     .max_retries(2)
//!     .build()?;
//! let answer = pool.chat(&ChatRequest::user("Where is it cold?")).await?;
//! println!("{} says: {}", answer.provider, answer.reply.content);
//! pool.stop().await
//! # }
//! ```
//!
//! [`LlmPool::from_file`] reads a configuration, and [`LlmPool::execute_request`] puts a function of your own under the
//! pool's policies. Calls run on the tokio runtime of whoever makes them; dropping the future of one cancels it. A program
//! that subscribes to `tracing` is told what happens, under the target `llmpool`.

// The sample of every key of a provider, in a test, is one long `json!`.
#![cfg_attr(test, recursion_limit = "256")]

// In layer order, which a test keeps: each module may use those above it, never those below or beside it. The leaves know
// nothing of each other; `config` composes their parameters, `engine` their behaviour. What is hidden is public for the
// fuzz targets and measurements of this repository, and is no part of what stays.

// rank 0
#[doc(hidden)]
pub mod time;
pub mod types;
// rank 1
pub mod error;
// rank 2
pub mod event;
// rank 3: the leaves
#[doc(hidden)]
pub mod adapter;
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod cost;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod policy;
#[doc(hidden)]
pub mod schema;
#[doc(hidden)]
pub mod tokens;
#[doc(hidden)]
pub mod transport;
// rank 4
pub mod config;
// rank 5
#[doc(hidden)]
pub mod engine;
// rank 6
#[doc(hidden)]
pub mod ensemble;
// rank 7
#[doc(hidden)]
pub mod tasks;
// rank 8
pub mod pool;
// rank 9
pub mod analysis;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod jobs;
// rank 10
mod llm_pool;
// rank 11
#[cfg(feature = "node")]
mod node;

pub use engine::{
    Analytics, BudgetPeriodStats, BudgetStats, Classified, Executed, ExplainedProvider, Explanation, Fault,
    HttpStatusError, KeyStats, Outlook, Performance, Point, PoolHealth, PoolStats, ProviderHealth, ProviderStats,
    ProviderUsage, ProviderWindow, RuleVerdict, Spent, Turn, Verdict,
};
#[doc(inline)]
pub use error::{Error, ErrorKind, Failure, FailureClass};
#[doc(inline)]
pub use jobs::BackgroundProcessor;
pub use llm_pool::{ExecuteError, LlmAnalyzer, LlmClient, LlmClientBuilder, LlmPool, LlmPoolBuilder, PoolMember};
pub use metrics::Window;
#[doc(inline)]
pub use pool::PoolStream;
#[doc(inline)]
pub use types::{
    AttemptOutcome, AttemptRecord, Behaviour, CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse,
    Message, NanoUsd, ProviderName, RequestId, Role, StreamEvent, Usage,
};

#[cfg(test)]
mod layering {
    //! Reads the sources: a module may name only modules of a lower rank, and itself.

    use std::fs;
    use std::path::{Path, PathBuf};

    const RANKS: &[(&str, u32)] = &[
        ("time", 0),
        ("types", 0),
        ("error", 1),
        ("event", 2),
        ("adapter", 3),
        ("cache", 3),
        ("cost", 3),
        ("metrics", 3),
        ("policy", 3),
        ("schema", 3),
        ("tokens", 3),
        ("transport", 3),
        ("config", 4),
        ("engine", 5),
        ("ensemble", 6),
        ("tasks", 7),
        ("pool", 8),
        ("analysis", 9),
        ("gateway", 9),
        ("jobs", 9),
        ("llm_pool", 10),
        ("node", 11),
    ];

    fn rank(module: &str) -> u32 {
        RANKS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("module {module} has no rank: add it to RANKS and to the list above"))
            .1
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The modules of this crate that a source names by `crate::`, tests left out: they may look anywhere.
    fn named(source: &str) -> Vec<String> {
        let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        code.split("crate::")
            .skip(1)
            .flat_map(|rest| {
                let rest = rest.trim_start();
                let listed = rest.strip_prefix('{').and_then(|inner| inner.split('}').next());
                listed.map_or_else(|| vec![rest], |inner| inner.split(',').map(str::trim).collect())
            })
            .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
            .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_lowercase() || c == '_'))
            .collect()
    }

    #[test]
    fn no_module_names_one_of_its_own_rank_or_above() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        assert!(files.len() > 20, "the sources were found");
        for file in files {
            let relative = file.strip_prefix(&root).expect("below src");
            if relative == Path::new("lib.rs") || relative.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let module = relative.components().next().expect("a name").as_os_str().to_string_lossy();
            let module = module.trim_end_matches(".rs");
            for name in named(&fs::read_to_string(&file).expect("a readable source")) {
                assert!(
                    name == module || rank(&name) < rank(module) || (name == "types" && module == "time"),
                    "{} (rank {}) must not name {name} (rank {})",
                    relative.display(),
                    rank(module),
                    rank(&name),
                );
            }
        }
    }

    #[test]
    fn the_reader_of_sources_sees_every_way_to_name_a_module() {
        let source = "use crate::types::Usage;\nuse crate::{error, event::Event};\nfn f() { crate::policy::rank() }\n\
                      // crate::node in a comment\n#[cfg(test)]\nmod tests { use crate::engine::Engine; }";
        assert_eq!(named(source), ["types", "error", "event", "policy"]);
    }
}
