//! How many tokens a text has.
//!
//! `size` measures a request in a microsecond and `estimate` says about how many tokens that is, for whatever must be known
//! before sending. `openai` counts exactly in OpenAI's encodings (`split` cuts a text into pieces, `bpe` encodes them),
//! `file` by a `tokenizer.json`, `image` what is not text. `counter` puts them together for one model.

mod bpe;
mod counter;
mod estimate;
mod file;
mod image;
mod openai;
mod size;
mod split;

pub use counter::{Counter, CounterParams, TokenizerChoice};
pub use estimate::estimate_text;
pub use file::FileTokenizer;
pub use image::PART_TOKENS;
pub use openai::Encoding;
pub use size::{PromptSize, estimate_prompt, most_prompt_tokens};
