//! Counts for one model at one provider.
//!
//! | | what it costs | when it is asked |
//! |---|---|---|
//! | [`Counter::estimate`] | a multiplication | for every call: limits and budgets reserve it before sending |
//! | [`Counter::count_prompt`], [`Counter::count_text`] | up to 0.05 ms per KB | when somebody wants to know (`estimateTokens`) |
//! | [`Counter::usage`] | the same, for 32 KiB at the most | when a provider did not say what an answer used |
//!
//! Exact is what is said to be exact: OpenAI's models, and those whose `tokenizer.json` is configured. Everything else is
//! the estimate, corrected by what the provider reports. The frame around messages is counted as OpenAI's models have it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::estimate::{Calibration, estimate_text};
use super::file::FileTokenizer;
use super::image::part_tokens;
use super::openai::Encoding;
use super::size::{PromptSize, Reader, visit};
use crate::types::{ChatRequest, Part, Reply, Usage};

/// Bytes of an unreported answer, and of its prompt, that are counted one by one; the rest is taken to be like them. This
/// happens between other calls' work, which two milliseconds do not hold up.
const COUNTED: usize = 32 * 1024;

/// How a provider's tokens are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterParams {
    /// `false`: four bytes are a token, whatever anybody says.
    pub counting: bool,
    /// `None`: by the name of each model.
    pub tokenizer: Option<TokenizerChoice>,
}

/// What a provider's models are said to count with.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenizerChoice {
    Encoding(Encoding),
    /// A `tokenizer.json`.
    File(PathBuf),
}

/// How the tokens of a model are counted.
pub struct Counter {
    model: String,
    method: Method,
    calibration: Mutex<Calibration>,
}

#[derive(Clone)]
enum Method {
    OpenAi(Encoding),
    File(Arc<FileTokenizer>),
    /// Nothing is known of the model but what it reports.
    Calibrated,
    /// Four bytes are a token: counting is switched off.
    Bytes,
}

impl Default for CounterParams {
    fn default() -> Self {
        Self { counting: true, tokenizer: None }
    }
}

impl Counter {
    /// One for each model. A `tokenizer.json` is read once, here; an error says what is wrong with it.
    pub fn for_models<'m>(
        models: impl IntoIterator<Item = &'m str>,
        params: &CounterParams,
    ) -> Result<Vec<Self>, String> {
        let CounterParams { counting, tokenizer } = params;
        let chosen = match tokenizer {
            None => None,
            Some(TokenizerChoice::Encoding(encoding)) => Some(Method::OpenAi(*encoding)),
            Some(TokenizerChoice::File(path)) => Some(Method::File(Arc::new(FileTokenizer::read(path)?))),
        };
        let counter = |model: &str| match &chosen {
            _ if !counting => Self::bytes_only(model),
            Some(method) => Self::new(model, method.clone()),
            None => Self::of_model(model),
        };
        Ok(models.into_iter().map(counter).collect())
    }

    /// By the model's name alone.
    pub fn of_model(model: &str) -> Self {
        Self::new(model, Encoding::of_model(model).map_or(Method::Calibrated, Method::OpenAi))
    }

    /// Four bytes are a token, whatever anybody reports.
    pub fn bytes_only(model: &str) -> Self {
        Self::new(model, Method::Bytes)
    }

    fn new(model: &str, method: Method) -> Self {
        Self { model: model.to_owned(), method, calibration: Mutex::new(Calibration::of_model(model)) }
    }

    /// Tokens of a request of that size, about.
    pub fn estimate(&self, size: &PromptSize) -> u64 {
        let PromptSize { bytes, framing, parts } = *size;
        match self.method {
            Method::Bytes => estimate_text(bytes).saturating_add(parts),
            _ => self.calibrated(bytes).saturating_add(framing).saturating_add(parts),
        }
    }

    /// Takes over what a provider said a request of that size had. Pictures are left out: their tokens would be taken for
    /// those of the text.
    pub fn learn(&self, size: &PromptSize, reported: &Usage) {
        if reported.estimated || size.parts > 0 || matches!(self.method, Method::Bytes) {
            return;
        }
        let tokens = reported.prompt_tokens.saturating_sub(size.framing);
        self.calibration.lock().unwrap_or_else(PoisonError::into_inner).learn(size.bytes, tokens);
    }

    /// Tokens of a text.
    pub fn count_text(&self, text: &str) -> u64 {
        let mut sum = Sum::new(self, usize::MAX);
        sum.text(text);
        sum.total()
    }

    /// Tokens of everything the model reads of a request.
    pub fn count_prompt(&self, request: &ChatRequest) -> u64 {
        self.prompt(request, usize::MAX)
    }

    /// What an answer used: as its provider reported it, or counted here and marked so.
    pub fn usage(&self, request: &ChatRequest, reply: &Reply) -> Usage {
        reply.usage.unwrap_or_else(|| self.spent(request, reply))
    }

    fn spent(&self, request: &ChatRequest, reply: &Reply) -> Usage {
        Usage { estimated: true, ..Usage::reported(self.prompt(request, COUNTED), self.received(reply)) }
    }

    /// Tokens of what has come of an answer.
    pub fn received(&self, reply: &Reply) -> u64 {
        let mut sum = Sum::new(self, COUNTED);
        sum.text(&reply.content);
        reply.reasoning.iter().chain(&reply.refusal).for_each(|text| sum.text(text));
        for call in &reply.tool_calls {
            sum.text(&call.function.name);
            sum.text(&call.function.arguments);
        }
        sum.total()
    }

    fn prompt(&self, request: &ChatRequest, limit: usize) -> u64 {
        if matches!(self.method, Method::Bytes) {
            return self.estimate(&PromptSize::of(request));
        }
        let mut sum = Sum::new(self, limit);
        visit(request, &mut sum);
        sum.total()
    }

    fn calibrated(&self, bytes: usize) -> u64 {
        self.calibration.lock().unwrap_or_else(PoisonError::into_inner).tokens(bytes)
    }
}

/// Adds up what is read.
struct Sum<'a> {
    counter: &'a Counter,
    /// Bytes that may still be counted one by one.
    left: usize,
    counted_bytes: usize,
    counted_tokens: u64,
    /// Bytes that are not counted one by one.
    other_bytes: usize,
    other_tokens: u64,
}

impl<'a> Sum<'a> {
    fn new(counter: &'a Counter, limit: usize) -> Self {
        Self { counter, left: limit, counted_bytes: 0, counted_tokens: 0, other_bytes: 0, other_tokens: 0 }
    }

    fn total(&self) -> u64 {
        let other = match (&self.counter.method, self.counted_bytes) {
            (Method::Bytes, _) => estimate_text(self.other_bytes),
            (_, 0) => self.counter.calibrated(self.other_bytes),
            (_, counted) => (self.other_bytes as f64 * self.counted_tokens as f64 / counted as f64).ceil() as u64,
        };
        self.counted_tokens.saturating_add(other).saturating_add(self.other_tokens)
    }
}

/// Splits a text after at most so many bytes, between two letters.
fn cut(text: &str, at: usize) -> (&str, &str) {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.split_at(at)
}

impl Reader for Sum<'_> {
    fn text(&mut self, text: &str) {
        let (head, tail) = cut(text, self.left);
        let tokens = match &self.counter.method {
            _ if head.is_empty() => Some(0),
            Method::OpenAi(encoding) => Some(encoding.count(head)),
            Method::File(file) => file.count(head),
            Method::Calibrated | Method::Bytes => None,
        };
        match tokens {
            Some(tokens) => {
                self.left -= head.len();
                self.counted_bytes += head.len();
                self.counted_tokens = self.counted_tokens.saturating_add(tokens);
                self.other_bytes = self.other_bytes.saturating_add(tail.len());
            }
            None => self.other_bytes = self.other_bytes.saturating_add(text.len()),
        }
    }

    fn framing(&mut self, tokens: u64) {
        self.other_tokens = self.other_tokens.saturating_add(tokens);
    }

    fn part(&mut self, part: &Part) {
        self.other_tokens = self.other_tokens.saturating_add(part_tokens(part, &self.counter.model));
    }

    fn json(&mut self, value: &impl Serialize) {
        // What cannot be written as JSON cannot be sent either.
        if let Ok(text) = serde_json::to_string(value) {
            self.text(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Content, ImageUrl, Message, Role};

    fn request(text: &str) -> ChatRequest {
        ChatRequest::new(vec![Message::text(Role::User, text)])
    }

    #[test]
    fn an_openai_model_is_counted_with_its_frame() {
        let counter = Counter::of_model("gpt-4o");
        assert_eq!(counter.count_text("Hello, world!"), 4);
        assert_eq!(counter.count_prompt(&request("Hello, world!")), 4 + 4 + 3);
        // The example of OpenAI's cookbook: 124 tokens for gpt-4o.
        let message = |role, name: Option<&str>, text: &str| Message {
            name: name.map(str::to_owned),
            ..Message::text(role, text)
        };
        let example = ChatRequest::new(vec![
            message(
                Role::System,
                None,
                "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
            ),
            message(Role::System, Some("example_user"), "New synergies will help drive top-line growth."),
            message(Role::System, Some("example_assistant"), "Things working well together will increase revenue."),
            message(
                Role::System,
                Some("example_user"),
                "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
            ),
            message(
                Role::System,
                Some("example_assistant"),
                "Let's talk later when we're less busy about how to do better.",
            ),
            message(
                Role::User,
                None,
                "This late pivot means we don't have time to boil the ocean for the client deliverable.",
            ),
        ]);
        assert_eq!(counter.count_prompt(&example), 124);
    }

    #[test]
    fn a_named_tokenizer_goes_over_the_models_name() {
        let params = |tokenizer| CounterParams { counting: true, tokenizer: Some(tokenizer) };
        let counters = |params: &CounterParams| Counter::for_models(["gpt-4o"], params);
        let text = "Привет, как дела?";
        let cl100k = counters(&params(TokenizerChoice::Encoding(Encoding::Cl100k))).unwrap();
        assert_eq!((Counter::of_model("gpt-4o").count_text(text), cl100k[0].count_text(text)), (6, 8));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/__test__/fixtures/tokenizer.json");
        let words = counters(&params(TokenizerChoice::File(file.into()))).unwrap();
        assert_eq!(words[0].count_text("the cat sat"), 3);
        let error = counters(&params(TokenizerChoice::File("/no/such/file".into()))).err();
        assert_eq!(error.as_deref(), Some("/no/such/file: this file does not exist"));
        let error = counters(&params(TokenizerChoice::File(concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE").into())));
        assert!(error.err().is_some_and(|message| message.contains("is no tokenizer.json")));
        let off = CounterParams { counting: false, ..params(TokenizerChoice::Encoding(Encoding::Cl100k)) };
        assert_eq!(counters(&off).unwrap()[0].count_text("aaaaaaaa"), 2);
    }

    #[test]
    fn bytes_only_is_bytes_only() {
        let counter = Counter::bytes_only("gpt-4o");
        counter.learn(&PromptSize { bytes: 4_000, framing: 0, parts: 0 }, &Usage::reported(500, 0));
        assert_eq!(counter.count_text("Hello, world!"), 4);
        assert_eq!(counter.count_text("aaaaaaaa"), 2);
        assert_eq!(counter.count_prompt(&request("aaaaaaaa")), 2);
        assert_eq!(counter.estimate(&PromptSize::of(&request("aaaaaaaa"))), 2);
    }

    #[test]
    fn other_models_are_estimated_and_learn_from_reports() {
        let counter = Counter::of_model("llama-3.3-70b");
        assert_eq!(counter.count_text(&"a".repeat(4_000)), 1_000);
        let size = PromptSize { bytes: 40_000, framing: 7, parts: 0 };
        for _ in 0..50 {
            counter.learn(&size, &Usage::reported(8_007, 1));
        }
        let learned = counter.count_text(&"a".repeat(4_000));
        assert!((800..=810).contains(&learned), "{learned}");
        assert!((8_007..=8_107).contains(&counter.estimate(&size)), "{}", counter.estimate(&size));
    }

    #[test]
    fn neither_own_counts_nor_pictures_teach() {
        let counter = Counter::of_model("m");
        let size = PromptSize { bytes: 40_000, framing: 0, parts: 0 };
        for _ in 0..50 {
            counter.learn(&size, &Usage { estimated: true, ..Usage::reported(30_000, 1) });
            counter.learn(&PromptSize { parts: 765, ..size }, &Usage::reported(30_000, 1));
        }
        assert_eq!(counter.estimate(&size), 10_000);
    }

    #[test]
    fn a_long_answer_is_counted_at_its_beginning() {
        let counter = Counter::of_model("gpt-4o");
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(4_000); // 180 KB
        let exact = counter.count_text(&text) as f64;
        let reply = Reply { content: text.clone(), ..Reply::default() };
        let spent = counter.spent(&request(&text), &reply);
        assert!(spent.estimated);
        for tokens in [spent.prompt_tokens, spent.completion_tokens] {
            assert!((tokens as f64 / exact - 1.0).abs() < 0.01, "{tokens} of {exact}");
        }
    }

    #[test]
    fn a_picture_costs_what_the_model_makes_of_it() {
        let image_url = ImageUrl { url: "https://example.com/a.png".into(), detail: Some("low".into()) };
        let message = Message {
            content: Content::Parts(vec![Part::Text { text: "look".into() }, Part::ImageUrl { image_url }]),
            ..Message::text(Role::User, "")
        };
        assert_eq!(Counter::of_model("gpt-4o").count_prompt(&ChatRequest::new(vec![message])), 1 + 85 + 7);
    }
}
