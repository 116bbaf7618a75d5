//! Reads a configuration file into text, without ever hanging or filling the memory on something that is no such file;
//! and replaces a file so that nobody ever sees half of it.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::fs;

use crate::error::Problem;

/// A configuration of ten thousand providers is below 10 MiB.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The text of the file at `path`; needs a tokio runtime.
///
/// Links are followed. Pipes and devices are refused: they may never end.
pub async fn read_file(path: impl AsRef<Path>) -> Result<String, Problem> {
    let path = path.as_ref();
    let problem = |said: &str| Problem { path: String::new(), message: format!("{}: {said}", path.display()) };
    let broken = |error: io::Error| match error.kind() {
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

/// Puts another file in the place of the one at `path`, which only this user may read. Blocks.
///
/// # Errors
/// Those of the file system; the file at `path` is then what it was.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    /// Two pools of a process may write into one folder.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::from(ErrorKind::InvalidFilename))?.to_string_lossy();
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()));
    let written = write_new(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside); // the first error is the one worth telling
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    // Or the name may be there after a crash and the bytes not.
    file.sync_all()
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

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = Folder::new("replace");
        let path = folder.file("a", b"old and longer");
        replace_file(&path, b"new").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
        assert!(replace_file(&folder.0.join("none").join("a"), b"x").is_err());
        assert_eq!(std::fs::read_dir(&folder.0).expect("there").count(), 1, "nothing is left beside it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
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
