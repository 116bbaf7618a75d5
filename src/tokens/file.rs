//! Exact counts by a `tokenizer.json`, the file that comes with nearly every open model.

use std::path::Path;

use tokenizers::Tokenizer;

/// A tokenizer that was read from its file.
pub struct FileTokenizer(Tokenizer);

impl FileTokenizer {
    /// Reads and builds it, which takes up to a second for a large vocabulary. An error says what is wrong.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{}: this file does not exist", path.display()),
            _ => format!("{}: {error}", path.display()),
        })?;
        let tokenizer = Tokenizer::from_bytes(bytes)
            .map_err(|error| format!("{}: this is no tokenizer.json: {error}", path.display()))?;
        Ok(Self(tokenizer))
    }

    /// Tokens of a text, without those that mark its beginning and end; `None` when the tokenizer cannot encode it.
    pub fn count(&self, text: &str) -> Option<u64> {
        self.0.encode_fast(text, false).ok().map(|encoding| encoding.len() as u64)
    }
}
