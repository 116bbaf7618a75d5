//! Cuts a byte stream into lines of JSON, and says of each whether it is one of ours.
//!
//! A line ends with LF; a CR before it and blank lines are nothing. The end of the stream ends the last line, too. Works
//! on bytes, so a character may be split anywhere. Memory is bounded by [`MAX_LINE`].

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::sse::MAX_EVENT;
use crate::error::{Failure, FailureClass};

/// Largest line: what an event of the other framing may be.
pub(super) const MAX_LINE: usize = MAX_EVENT;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug, Default)]
pub(super) struct Framer {
    /// A line whose end has not come yet.
    line: Vec<u8>,
    /// The first line, which may begin with a byte order mark, is over.
    begun: bool,
}

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<T> {
    /// One of the objects we know.
    Known(T),
    /// JSON of another kind: a newer server may say more than we understand.
    Unknown,
    /// No JSON at all.
    Corrupt,
}

// === impl Frame ===

impl<T> Frame<T> {
    /// Reads a line; `known` says whether an object that parses says anything we know.
    pub fn read<'a>(line: &'a [u8], known: impl FnOnce(&T) -> bool) -> Self
    where
        T: Deserialize<'a>,
    {
        // serde would also read an array, as the fields in order.
        let object = line.trim_ascii_start().first() == Some(&b'{');
        match serde_json::from_slice::<T>(line) {
            Ok(value) if object && known(&value) => Self::Known(value),
            Ok(_) => Self::Unknown,
            Err(error) if error.is_data() && serde_json::from_slice::<IgnoredAny>(line).is_ok() => Self::Unknown,
            Err(_) => Self::Corrupt,
        }
    }
}

// === impl Framer ===

impl Framer {
    /// Takes the next bytes and hands out every line they complete.
    pub fn push<F>(&mut self, mut bytes: &[u8], mut each: F) -> Result<(), Failure>
    where
        F: FnMut(&[u8]) -> Result<(), Failure>,
    {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.line.is_empty() {
                self.on_line(line, &mut each)?;
            } else {
                self.keep(line)?;
                self.on_kept_line(&mut each)?;
            }
        }
        self.keep(bytes)
    }

    /// The stream is over: what is left is the last line.
    pub fn finish<F>(&mut self, mut each: F) -> Result<(), Failure>
    where
        F: FnMut(&[u8]) -> Result<(), Failure>,
    {
        self.on_kept_line(&mut each)
    }

    fn on_kept_line<F>(&mut self, each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(&[u8]) -> Result<(), Failure>,
    {
        let mut line = std::mem::take(&mut self.line);
        let result = self.on_line(&line, each);
        line.clear();
        self.line = line; // keeps its capacity for the next one
        result
    }

    fn on_line<F>(&mut self, mut line: &[u8], each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(&[u8]) -> Result<(), Failure>,
    {
        if line.len() > MAX_LINE {
            return Err(too_long());
        }
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        match line.trim_ascii() {
            b"" => Ok(()),
            line => each(line),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.line.len() + bytes.len() > MAX_LINE {
            return Err(too_long());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

fn too_long() -> Failure {
    Failure::new(FailureClass::BadReply, format!("the stream holds a line of more than {MAX_LINE} bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        let mut keep = |line: &[u8]| {
            seen.push(line.to_vec());
            Ok(())
        };
        for chunk in chunks {
            framer.push(chunk, &mut keep).expect("in bounds");
        }
        framer.finish(&mut keep).expect("in bounds");
        seen
    }

    #[test]
    fn lines_end_with_either_end_and_blank_ones_are_nothing() {
        assert_eq!(lines(&[b"{}\n\r\n [1]\r\n\n7"]), [b"{}".to_vec(), b"[1]".to_vec(), b"7".to_vec()]);
        assert_eq!(lines(&[b""]), Vec::<Vec<u8>>::new());
        assert_eq!(lines(&[b"\n \n"]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once() {
        assert_eq!(lines(&[b"\xEF\xBB", b"\xBF1\n\xEF\xBB\xBF2"]), [b"1".to_vec(), b"\xEF\xBB\xBF2".to_vec()]);
    }

    #[test]
    fn a_line_is_known_unknown_or_corrupt() {
        #[derive(Debug, Deserialize, PartialEq, Eq)]
        struct Count {
            count: Option<u32>,
        }
        let read = |line: &str| Frame::<Count>::read(line.as_bytes(), |frame| frame.count.is_some());
        assert_eq!(read(r#"{"count":7}"#), Frame::Known(Count { count: Some(7) }));
        for line in ["{}", "[7]", "7", "null", r#"{"count":"seven"}"#, r#"{"count":[[[]]],"x":{}}"#] {
            assert_eq!(read(line), Frame::Unknown, "{line}");
        }
        for line in ["{", r#"{"count":"seven""#, r#"{"count":7} x"#, "<html>", "\u{FFFD}", r#"{"count":7}{"count":7}"#]
        {
            assert_eq!(read(line), Frame::Corrupt, "{line}");
        }
        assert_eq!(Frame::<Count>::read(b"{\"count\":\"\xFF\"}", |_| true), Frame::Corrupt);
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep), Frame::Unknown);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let mut framer = Framer::default();
        let chunk = vec![b'a'; 1 << 20];
        let result = (0..9).try_for_each(|_| framer.push(&chunk, |_| Ok(())));
        assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
        let mut whole = vec![b'a'; MAX_LINE + 1];
        whole.push(b'\n');
        assert!(Framer::default().push(&whole, |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            parts in prop::collection::vec(prop::sample::select(vec!["{\"a\":\"é😀\"}", "\n", "\r\n", "\r", " ", "x", "\u{FEFF}"]), 0..20),
            cuts in prop::collection::vec(0usize..200, 0..10),
        ) {
            let stream = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&stream]));
        }

        #[test]
        fn random_bytes_never_panic_and_nothing_is_invented(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let given: usize = chunks.iter().map(|chunk| chunk.len()).sum();
            prop_assert!(lines(&chunks).iter().map(Vec::len).sum::<usize>() <= given);
        }
    }
}
