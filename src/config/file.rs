//! Reads a configuration file into text, without ever hanging or filling the memory on something that is no such file.

use std::io::ErrorKind;
use std::path::Path;

use tokio::fs;

use crate::error::Problem;

/// A configuration of ten thousand providers is below 10 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The text of the file at `path`; needs a tokio runtime.
///
/// Links are followed. Pipes and devices are refused: they may never end.
pub async fn read_file(path: impl AsRef<Path>) -> Result<String, Problem> {
    let path = path.as_ref();
    let problem = |said: &str| Problem { path: String::new(), message: format!("{}: {said}", path.display()) };
    let broken = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => problem("this file does not exist"),
        ErrorKind::PermissionDenied => problem("this file may not be read by this process"),
        _ => problem(&format!("this file cannot be read: {error}")),
    };
    let too_large = || problem(&format!("this file is larger than {} MiB", MAX_BYTES / (1024 * 1024)));

    let metadata = fs::metadata(path).await.map_err(broken)?;
    if metadata.is_dir() {
        return Err(problem("this is a directory, not a file"));
    }
    if !metadata.is_file() {
        return Err(problem("this is not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(too_large());
    }
    let bytes = fs::read(path).await.map_err(broken)?;
    // It may have grown since.
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        problem(&format!("this file is not UTF-8 text (line {})", line + 1))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory of its own, gone at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("llmpool-file-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).expect("a file");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_text_file_is_read() {
        let folder = Folder::new("text");
        assert_eq!(read_file(folder.file("a.json", "{ \"ü\": 1 }".as_bytes())).await.as_deref(), Ok("{ \"ü\": 1 }"));
    }

    #[tokio::test]
    async fn what_is_no_configuration_file_says_so() {
        let folder = Folder::new("bad");
        let large = folder.file("large.json", b"");
        let file = std::fs::File::options().write(true).open(&large).expect("opens");
        file.set_len(MAX_BYTES + 1).expect("sparse");
        for (path, expected) in [
            (folder.0.join("none.json"), "does not exist"),
            (folder.0.clone(), "is a directory"),
            (folder.file("latin.json", b"{\n\"a\": \"\xfc\" }"), "not UTF-8 text (line 2)"),
            (large, "larger than 16 MiB"),
            (PathBuf::from("/dev/null"), "not a regular file"),
        ] {
            let problem = read_file(&path).await.expect_err(expected);
            let name = path.display().to_string();
            assert!(problem.message.contains(expected) && problem.message.contains(&name), "{problem}");
        }
    }
}
