//! Cuts a byte stream into server-sent events.
//!
//! Follows the WHATWG event stream rules where they matter: any of the three line ends, comments, several `data:` lines
//! joined, one optional space, an optional byte order mark, unknown fields ignored. Departs from them twice, because
//! servers do: an event that the end of the stream cuts off from its blank line still counts, and a line that begins
//! with `{` is data, since some servers write a bare JSON error between their events.
//!
//! Works on bytes, so a character may be split anywhere. Memory is bounded by [`MAX_EVENT`].

use crate::error::{Failure, FailureClass};

/// Largest line or event. An honest one is a few hundred bytes; a whole tool call or image in one piece stays below.
pub(super) const MAX_EVENT: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event, borrowed from the framer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    /// Empty when the event has no `event:` line.
    pub name: &'a [u8],
    pub data: &'a [u8],
}

#[derive(Debug, Default)]
pub(super) struct Framer {
    /// A line whose end has not come yet.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last line ended in CR: an LF that comes next belongs to it.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, is over.
    begun: bool,
}

impl Framer {
    /// Takes the next bytes and hands out every event they complete.
    pub fn push<F>(&mut self, mut bytes: &[u8], mut each: F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return append(&mut self.line, bytes);
            };
            self.after_cr = bytes[end] == b'\r';
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.line.is_empty() {
                self.on_line(line, &mut each)?;
            } else {
                append(&mut self.line, line)?;
                self.on_kept_line(&mut each)?;
            }
        }
        Ok(())
    }

    /// The stream is over: what is left is the last event.
    pub fn finish<F>(&mut self, mut each: F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        if !self.line.is_empty() {
            self.on_kept_line(&mut each)?;
        }
        self.dispatch(&mut each)
    }

    fn on_kept_line<F>(&mut self, each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        let mut line = std::mem::take(&mut self.line);
        let result = self.on_line(&line, each);
        line.clear();
        self.line = line; // keeps its capacity for the next one
        result
    }

    fn on_line<F>(&mut self, mut line: &[u8], each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let (field, value) = match line.first() {
            None => return self.dispatch(each),
            Some(b':') => return Ok(()),
            Some(b'{') => (&b"data"[..], line),
            Some(_) => match line.iter().position(|byte| *byte == b':') {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &b""[..]),
            },
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    append(&mut self.data, b"\n")?;
                }
                append(&mut self.data, value)
            }
            b"event" => {
                self.name.clear();
                append(&mut self.name, value)
            }
            _ => Ok(()),
        }
    }

    fn dispatch<F>(&mut self, each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        let result = match std::mem::take(&mut self.has_data) {
            true => each(Event { name: &self.name, data: &self.data }),
            false => Ok(()),
        };
        self.name.clear();
        self.data.clear();
        result
    }
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Failure> {
    if buffer.len() + bytes.len() > MAX_EVENT {
        return Err(Failure::new(
            FailureClass::BadReply,
            format!("the stream holds an event of more than {MAX_EVENT} bytes"),
        ));
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        let mut keep = |event: Event<'_>| {
            seen.push((String::from_utf8_lossy(event.name).into_owned(), event.data.to_vec()));
            Ok(())
        };
        for chunk in chunks {
            framer.push(chunk, &mut keep).expect("in bounds");
        }
        framer.finish(&mut keep).expect("in bounds");
        seen
    }

    fn data(stream: &str) -> Vec<String> {
        events(&[stream.as_bytes()]).into_iter().map(|(_, data)| String::from_utf8_lossy(&data).into_owned()).collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r\n", "\r"] {
            // Two lines to an event: an end that counted twice would part them.
            let stream = format!("data: a{end}data: b{end}{end}data: c{end}{end}");
            assert_eq!(data(&stream), ["a\nb", "c"], "{end:?}");
        }
        assert_eq!(data("data: a\r\rdata: b\n\r\ndata: c\r\n\n"), ["a", "b", "c"]);
    }

    #[test]
    fn a_space_after_the_colon_is_optional_and_only_one() {
        assert_eq!(data("data:a\n\ndata: b\n\ndata:  c\n\n"), ["a", "b", " c"]);
    }

    #[test]
    fn several_data_lines_are_one_event() {
        assert_eq!(data("data: a\ndata:\ndata: b\n\n"), ["a\n\nb"]);
    }

    #[test]
    fn comments_and_unknown_fields_are_nothing() {
        assert_eq!(data(": hi\n\nid: 4\nretry: 10\nnonsense\ndata: a\n: mid\n\n:\n\n"), ["a"]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once() {
        assert_eq!(events(&[b"\xEF\xBB", b"\xBFdata: a\n\n"])[0].1, b"a");
    }

    #[test]
    fn an_event_keeps_its_name_to_itself() {
        let seen = events(&[b"event: error\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n"]);
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["error", "", ""]);
    }

    #[test]
    fn an_event_without_its_blank_line_counts_at_the_end() {
        assert_eq!(data("data: a\n\ndata: [DONE]"), ["a", "[DONE]"]);
        assert_eq!(data("data: a\n"), ["a"]);
    }

    #[test]
    fn a_bare_json_line_is_data() {
        assert_eq!(data("data: 1\n\n{\"error\":\"x\"}\n"), ["1", "{\"error\":\"x\"}"]);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let mut framer = Framer::default();
        let chunk = vec![b'a'; 1 << 20];
        let result = (0..9).try_for_each(|_| framer.push(&chunk, |_| Ok(())));
        assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
    }

    #[test]
    fn an_event_of_endless_lines_is_refused_at_the_bound() {
        let mut framer = Framer::default();
        let line = [b"data: ".to_vec(), vec![b'a'; 1 << 20], b"\n".to_vec()].concat();
        let result = (0..9).try_for_each(|_| framer.push(&line, |_| Ok(())));
        assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            lines in prop::collection::vec("(data: ?|event: |: |id:)?[aé{\u{1F600} ]{0,6}(\n|\r|\r\n|\n\n)", 0..12),
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let stream = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
            prop_assert_eq!(events(&chunks), events(&[&stream]));
        }

        #[test]
        fn random_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            events(&chunks);
        }
    }
}
