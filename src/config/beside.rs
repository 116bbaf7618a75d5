//! Further files that a configuration names: read with it, and watched with it.

use std::path::PathBuf;

use super::references::read_text;
use super::section::{Field, Reader};
use super::settings::{Settings, Source};
use super::values::Text;

/// Files beside the configuration.
pub(super) struct Files {
    folder: PathBuf,
    /// Those that were asked for, also where they could not be read.
    pub read: Vec<PathBuf>,
}

impl Files {
    /// Paths start beside the configuration, or where the process runs.
    pub fn of(settings: &Settings) -> Self {
        let folder = match &settings.source {
            Source::File(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
            Source::Url(_) | Source::Inline(_) => PathBuf::new(),
        };
        Self { folder, read: Vec::new() }
    }

    /// The text of the file that a key names, with where to say that it is wrong.
    pub fn text(&mut self, name: Field<Text>, at: &str, reader: &mut Reader<'_>) -> Option<(String, String)> {
        let name = name.some()?;
        if !reader.reads_files() {
            reader.problem(at, "a configuration from a URL reads no files of this machine");
            return None;
        }
        let path = self.folder.join(&name.value);
        // Watched also while it cannot be read: it may come.
        self.read.push(path.clone());
        match read_text(&path) {
            Ok(text) => Some((at.to_owned(), text)),
            Err(said) => {
                reader.problem(at, said);
                None
            }
        }
    }
}
