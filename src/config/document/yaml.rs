//! YAML 1.2, core schema: `no` and `on` are words, not booleans.
//!
//! One document. Anchors, aliases and merge keys are refused: a few lines of them can stand for gigabytes, and a
//! problem would have two places. Tags other than those of the core schema are refused, too.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Number;

use super::{Kind, Node, SyntaxError};

/// As deep as the parsers of the other formats go, about; a configuration is five levels deep.
const MAX_DEPTH: usize = 100;

pub(super) fn tree(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut events = Events { text, lines: line_starts(text), parser: Parser::new_from_str(text) };
    let mut root = None;
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if root.is_some() => {
                return Err(events.refused(span, "there is more than one document in it"));
            }
            Event::DocumentStart(_) => {
                let (event, span) = events.next()?;
                root = Some(events.node(None, event, span, 0)?);
            }
            _ => return Err(events.refused(span, "not a document")),
        }
    }
    // `~`, or nothing between the marks of a document.
    Ok(root.filter(|root| !matches!(root.kind, Kind::Null)))
}

struct Events<'a> {
    text: &'a str,
    /// Byte offset of each line.
    lines: Vec<usize>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let marker = error.marker();
                Err(SyntaxError { message: error.info().to_owned(), at: self.offset(marker.line(), marker.col()) })
            }
            None => Err(SyntaxError { message: "the text ends too early".to_owned(), at: self.text.len() }),
        }
    }

    /// The value that begins with `event`; `key` is where its key stands.
    fn node(&mut self, key: Option<usize>, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.refused(span, "nested too deep"));
        }
        let at = key.unwrap_or_else(|| self.start(span));
        let kind = match event {
            Event::Scalar(text, style, 0, tag) => self.scalar(&text, style, tag.as_deref(), span)?,
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Kind::List(items),
                        (event, span) => items.push(self.node(None, event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(0, None) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    let key = match event {
                        Event::MappingEnd => break Kind::Map(entries),
                        Event::Scalar(text, _, 0, None) if text != "<<" => text.into_owned(),
                        Event::Scalar(_, _, 0, None) => {
                            return Err(self.refused(span, "merge keys are not read; write the keys out"));
                        }
                        Event::Alias(_) => return Err(self.refused(span, ANCHORS)),
                        _ => return Err(self.refused(span, "a key must be a plain text")),
                    };
                    let at = self.start(span);
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(Some(at), event, span, depth + 1)?));
                }
            }
            Event::SequenceStart(0, Some(_)) | Event::MappingStart(0, Some(_)) => {
                return Err(self.refused(span, "tags are not read"));
            }
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(self.refused(span, ANCHORS));
            }
            _ => return Err(self.refused(span, "not a value")),
        };
        Ok(Node { at, kind })
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Kind, SyntaxError> {
        match tag {
            None if style == ScalarStyle::Plain => Ok(plain(text)),
            None => Ok(Kind::Text(text.to_owned())),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Kind::Text(text.to_owned())),
            Some(_) => Err(self.refused(span, "tags are not read")),
        }
    }

    fn refused(&self, span: Span, message: &str) -> SyntaxError {
        SyntaxError { message: message.to_owned(), at: self.start(span) }
    }

    fn start(&self, span: Span) -> usize {
        self.offset(span.start.line(), span.start.col())
    }

    /// The parser counts lines from 1 and columns in letters from 0.
    fn offset(&self, line: usize, column: usize) -> usize {
        let Some(start) = self.lines.get(line.saturating_sub(1)).copied() else { return self.text.len() };
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

const ANCHORS: &str = "anchors and aliases are not read; write the value out";

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// The core schema of YAML 1.2.
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => return Kind::Unusable("this number cannot be represented"),
        _ => {}
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Kind::Number(number.into());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !numeric {
        return Kind::Text(text.to_owned());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Kind::Number(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Kind::Number(number.into());
    }
    match text.parse::<f64>() {
        Ok(number) => {
            Number::from_f64(number).map_or(Kind::Unusable("this number cannot be represented"), Kind::Number)
        }
        // A version, an address: `1.2.3`.
        Err(_) => Kind::Text(text.to_owned()),
    }
}
