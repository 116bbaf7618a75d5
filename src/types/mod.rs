//! What a chat is, in nobody's dialect. Adapters translate from and to these types; everything else only reads them.

mod embed;
mod ensemble;
mod ids;
mod infer;
mod message;
mod object;
mod options;
mod parse;
mod reply;
mod request;
mod stream;
pub(crate) mod surrogates;
mod template;
mod usage;
mod worth;

pub use embed::{
    EmbedInput, EmbedReply, EmbedRequest, EmbedResponse, EncodingFormat, ParsedEmbed, parse_embed, parse_openai_embed,
};
pub use ensemble::{Decision, JudgeOutcome, Judgement, Strategy, Vote};
pub use ids::{ProviderName, RequestId};
pub use infer::{InferRequest, InferResponse, Labels, ParsedInfer, parse_infer};
pub use message::{Content, FunctionCall, ImageUrl, Message, Part, ReasoningState, Role, ToolCall};
pub use object::Object;
pub use options::{Behaviour, CacheWish, CallOptions};
pub use parse::{
    FieldError, ParsedCall, check, millis_of, parse_call, parse_openai, parse_options, read_text, said_of_surrogates,
};
pub(crate) use parse::{Millis, TEMPERATURES};
pub use reply::{AttemptOutcome, AttemptRecord, ChatResponse, FinishReason, Reply};
pub use request::{Api, ChatRequest, ForeignFields, Function, ResponseFormat, Tool, ToolChoice};
pub use stream::{Accumulator, StreamEvent, ToolCallDelta};
pub use template::Template;
pub use usage::{Meter, NanoUsd, Usage};
pub use worth::Worth;
