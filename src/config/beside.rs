//! Further files that a configuration names: read with it, and watched with it.

use std::path::PathBuf;

use super::references::{NO_PATH, is_path, is_plainly_a_path, read_text};
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
        if !is_path(&name.value) {
            reader.problem(at, NO_PATH);
            return None;
        }
        let path = self.folder.join(&name.value);
        // Watched also while it cannot be read: it may come.
        self.read.push(path.clone());
        // What a reference stands for may be a secret that was put in the wrong place.
        let is_referred = name.value != name.shown;
        let written = if is_referred { name.shown.into() } else { path.to_string_lossy() };
        match read_text(&path, &written) {
            Ok(text) => Some((at.to_owned(), text)),
            Err(said) => {
                reader.problem(at, said);
                None
            }
        }
    }
}

/// The path that a key names, for whoever reads the file later and says its name when it cannot.
pub(super) fn path(name: Text, at: &str, reader: &mut Reader<'_>) -> Option<PathBuf> {
    let is_told = if name.value == name.shown { is_path(&name.value) } else { is_plainly_a_path(&name.value) };
    if !is_told {
        reader.problem(at, NO_PATH);
    }
    is_told.then(|| PathBuf::from(name.value))
}
