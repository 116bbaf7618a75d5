//! A request for embeddings and its answer, before any provider is chosen.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::ids::{ProviderName, RequestId};
use super::options::CallOptions;
use super::parse::{FieldError, read_option, read_text, said_of_surrogates, unknown_field};
use super::reply::AttemptRecord;
use super::usage::{NanoUsd, Usage};

/// What the caller asks to be embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// Picks the providers that serve this model or alias; `None` is every provider with its own model.
    pub model: Option<String>,
    /// At least one, none of them empty.
    pub input: EmbedInput,
    /// How many numbers a vector is to have; `None`: as many as the model makes.
    pub dimensions: Option<u32>,
    pub encoding_format: EncodingFormat,
    pub user: Option<String>,
    /// Merged into the wire body of providers of that type, over everything else.
    pub extra_body: BTreeMap<String, Map<String, Value>>,
}

/// Texts, or texts that are cut into tokens already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedInput {
    Texts(Vec<String>),
    /// Numbers of the model's own vocabulary: only services whose vocabulary is public take them.
    Tokens(Vec<Vec<u32>>),
}

/// In which form JavaScript and HTTP are given the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    #[default]
    Float,
    /// Base64 of the numbers as 32-bit floats, little-endian.
    Base64,
}

/// One reply of a provider: the vectors of one batch, in the order of its inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmbedReply {
    /// Empty when the provider did not say.
    pub model: String,
    pub vectors: Vec<Vec<f64>>,
    pub usage: Option<Usage>,
}

/// The answer to a call: one vector for each input, in its order, all of them by one model of one provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EmbedResponse {
    pub vectors: Vec<Vec<f64>>,
    pub encoding_format: EncodingFormat,
    /// The model that really answered.
    pub model: String,
    pub provider: ProviderName,
    pub usage: Usage,
    /// `None`: the price is not known.
    pub cost: Option<NanoUsd>,
    pub request_id: RequestId,
    pub latency: Duration,
    pub warnings: Vec<String>,
    pub attempts: Vec<AttemptRecord>,
}

/// One such call as it was asked for, with what had to be changed to take it.
#[derive(Debug)]
pub struct ParsedEmbed {
    pub request: EmbedRequest,
    pub options: CallOptions,
    pub warnings: Vec<String>,
}

impl EmbedRequest {
    /// A request that says nothing but its texts.
    pub fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            model: None,
            input: EmbedInput::Texts(texts.into_iter().map(Into::into).collect()),
            dimensions: None,
            encoding_format: EncodingFormat::Float,
            user: None,
            extra_body: BTreeMap::new(),
        }
    }

    /// What no type can say: emptiness and zero.
    pub fn check(&self) -> Result<(), FieldError> {
        let refused = |field: String, message: &str| FieldError { field, message: message.to_owned() };
        let empty = match &self.input {
            EmbedInput::Texts(texts) => texts.iter().position(String::is_empty),
            EmbedInput::Tokens(lists) => lists.iter().position(Vec::is_empty),
        };
        if self.input.is_empty() {
            return Err(refused("input".to_owned(), "must hold at least one text"));
        }
        if let Some(at) = empty {
            return Err(refused(format!("input[{at}]"), "must not be empty"));
        }
        if self.dimensions == Some(0) {
            return Err(refused("dimensions".to_owned(), "must be at least 1"));
        }
        Ok(())
    }
}

impl EmbedInput {
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(lists) => lists.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads and checks a call for embeddings: request fields and options side by side.
pub fn parse_embed(json: &str) -> Result<ParsedEmbed, FieldError> {
    let (call, replaced): (ParsedEmbed, usize) = read_text(json)?;
    let mut call = call;
    call.warnings.extend(said_of_surrogates(replaced));
    call.request.check()?;
    Ok(call)
}

/// Reads and checks the body of a request to OpenAI's embeddings API. It has no options of ours; fields that are not known
/// here are named in the warnings.
pub fn parse_openai_embed(json: &str) -> Result<ParsedEmbed, FieldError> {
    let (OpenAiEmbed(mut call), replaced) = read_text(json)?;
    call.warnings.extend(said_of_surrogates(replaced));
    call.request.check()?;
    Ok(call)
}

/// Every name such a call may carry, for "did you mean".
const KNOWN: &[&str] = &[
    "input",
    "model",
    "dimensions",
    "encoding_format",
    "user",
    "extra_body",
    "timeout",
    "deadline",
    "maxRetries",
    "failover",
    "providers",
    "behaviour",
    "session",
    "tenant",
    "requestId",
    "headers",
    "signal",
];

impl<'de> Deserialize<'de> for ParsedEmbed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EmbedVisitor { openai: false })
    }
}

/// A call as OpenAI's clients write it.
struct OpenAiEmbed(ParsedEmbed);

impl<'de> Deserialize<'de> for OpenAiEmbed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EmbedVisitor { openai: true }).map(Self)
    }
}

struct EmbedVisitor {
    /// A body of OpenAI's API: no options of ours, unknown fields left out.
    openai: bool,
}

impl<'de> Visitor<'de> for EmbedVisitor {
    type Value = ParsedEmbed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParsedEmbed, A::Error> {
        let mut request = EmbedRequest::new([""; 0]);
        let mut options = CallOptions::default();
        let mut warnings = Vec::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                // `null` is no text, which `check` refuses by name.
                "input" => {
                    request.input = map.next_value::<Option<_>>()?.unwrap_or(EmbedInput::Texts(Vec::new()));
                }
                "model" => request.model = map.next_value()?,
                "dimensions" => request.dimensions = map.next_value()?,
                "encoding_format" => {
                    request.encoding_format = map.next_value::<Option<_>>()?.unwrap_or_default();
                }
                "user" => request.user = map.next_value()?,
                "extra_body" if !self.openai => {
                    request.extra_body = map.next_value::<Option<_>>()?.unwrap_or_default();
                }
                other if self.openai => {
                    warnings.push(format!("{other}: not known here, not sent"));
                    map.next_value::<de::IgnoredAny>()?;
                }
                other => {
                    if !read_option(other, &mut options, &mut map)? {
                        return Err(unknown_field(other, KNOWN));
                    }
                }
            }
        }
        Ok(ParsedEmbed { request, options, warnings })
    }
}

impl<'de> Deserialize<'de> for EmbedInput {
    /// A text, texts, one list of tokens, or several.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        /// The first item decides what the list is of.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a text, a token or a list of tokens")]
        enum Item {
            Text(String),
            Token(u32),
            Tokens(Vec<u32>),
        }

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = EmbedInput;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of strings, or tokens as an array of whole numbers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EmbedInput, E> {
                Ok(EmbedInput::Texts(vec![text.to_owned()]))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<EmbedInput, E> {
                Ok(EmbedInput::Texts(vec![text]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<EmbedInput, A::Error> {
                let Some(first) = seq.next_element::<Item>()? else { return Ok(EmbedInput::Texts(Vec::new())) };
                Ok(match first {
                    Item::Text(text) => EmbedInput::Texts(rest(text, seq)?),
                    Item::Token(token) => EmbedInput::Tokens(vec![rest(token, seq)?]),
                    Item::Tokens(tokens) => EmbedInput::Tokens(rest(tokens, seq)?),
                })
            }
        }

        fn rest<'de, T: Deserialize<'de>, A: de::SeqAccess<'de>>(first: T, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = vec![first];
            while let Some(next) = seq.next_element()? {
                all.push(next);
            }
            Ok(all)
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> EmbedInput {
        parse_embed(&format!("{{\"input\":{json}}}")).expect(json).request.input
    }

    fn refused(json: &str) -> FieldError {
        parse_embed(json).expect_err(json)
    }

    #[test]
    fn input_is_texts_or_tokens_one_or_many() {
        let texts = |texts: &[&str]| EmbedInput::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(input("\"a\""), texts(&["a"]));
        assert_eq!(input("[\"a\",\"\\u00e9\"]"), texts(&["a", "é"]));
        assert_eq!(input("[1,2]"), EmbedInput::Tokens(vec![vec![1, 2]]));
        assert_eq!(input("[[1],[2,3]]"), EmbedInput::Tokens(vec![vec![1], vec![2, 3]]));
    }

    #[test]
    fn what_cannot_be_embedded_is_refused_by_name() {
        for (json, field) in [
            ("{}", "input"),
            ("{\"input\":null}", "input"),
            ("{\"input\":[]}", "input"),
            ("{\"input\":\"\"}", "input[0]"),
            ("{\"input\":[\"a\",\"\"]}", "input[1]"),
            ("{\"input\":[[1],[]]}", "input[1]"),
            ("{\"input\":[\"a\",1]}", "input[1]"),
            ("{\"input\":[1,\"a\"]}", "input[1]"),
            ("{\"input\":[-1]}", "input[0]"),
            ("{\"input\":{}}", "input"),
            ("{\"input\":7}", "input"),
            ("{\"input\":\"a\",\"dimensions\":0}", "dimensions"),
            ("{\"input\":\"a\",\"dimensions\":1.5}", "dimensions"),
            ("{\"input\":\"a\",\"encoding_format\":\"int8\"}", "encoding_format"),
            ("{\"input\":\"a\",\"messages\":[]}", "messages"),
            ("{\"input\":\"a\",\"timeout\":-1}", "timeout"),
            ("[]", ""),
        ] {
            assert_eq!(refused(json).field, field, "{json}");
        }
        assert!(refused("{\"inputs\":\"a\"}").message.contains("did you mean `input`"));
    }

    #[test]
    fn options_stand_beside_the_input() {
        let call =
            parse_embed(r#"{"input":"a","timeout":5,"encoding_format":"base64","providers":["p"],"tenant":"t"}"#)
                .expect("a call");
        assert_eq!(call.options.timeout, Some(Duration::from_millis(5)));
        assert_eq!(call.request.encoding_format, EncodingFormat::Base64);
        assert_eq!((call.options.providers, call.options.tenant), (vec!["p".to_owned()], Some("t".to_owned())));
    }
}
