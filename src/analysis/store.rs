//! Results of earlier times, each under a digest of what was asked for it.
//!
//! The key is made of the request as it would be sent: the words around it, the material, the schema and the model that is
//! asked for. Whatever changes what is asked changes the key, and nothing has to be remembered for that: a file that
//! changed, an option, a prompt of a newer version. A folder's request holds the results of what is in it, so that a
//! change goes up as far as results change. Entries are written whole or not at all; one that cannot be read is as none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prompts::Prompt;
use super::schema::Answer;
use crate::config::replace_file;
use crate::types::FieldError;

/// Of the shape of an entry; one of another version is asked for anew.
const VERSION: u32 = 1;

/// In the folder that is given: it may hold other things, and only this one is left out of an analysis.
const OWN: &str = "llmpool-analysis";

/// Says that a folder is a cache, to backups and to the next analysis: <https://bford.info/cachedir/>.
pub(super) const TAG: &str = "CACHEDIR.TAG";
pub(super) const TAG_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// What a result is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(String);

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    answer: Value,
}

/// The folder of results, or none.
#[derive(Debug, Default)]
pub(super) struct Store {
    folder: Option<PathBuf>,
    /// What went wrong, each said once.
    warnings: Mutex<BTreeSet<String>>,
}

impl Key {
    /// Of one request.
    pub fn of<A: Answer>(prompt: &Prompt, model: Option<&str>) -> Self {
        let schema = A::schema().to_string();
        Self::digest(&[model.unwrap_or_default(), A::NAME, &schema, &prompt.system, &prompt.user])
    }

    /// Of a result that is made of the answers to several.
    pub fn together(keys: &[Self], merge: &str) -> Self {
        let mut fields = vec!["together", merge];
        fields.extend(keys.iter().map(|key| key.0.as_str()));
        Self::digest(&fields)
    }

    fn digest(fields: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for field in fields {
            // The length first: two fields never read as one.
            context.update(&(field.len() as u64).to_le_bytes());
            context.update(field.as_bytes());
        }
        Self(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Store {
    /// What is kept in a folder. Blocks.
    pub fn look(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(|folder| folder.join(OWN)), warnings: Mutex::default() }
    }

    /// The same, and makes the folder if it is not there. Blocks.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: Option<&Path>) -> Result<Self, FieldError> {
        let store = Self::look(folder);
        if let Some(folder) = &store.folder {
            let made = std::fs::create_dir_all(folder).and_then(|()| match folder.join(TAG).try_exists()? {
                true => Ok(()),
                false => std::fs::write(folder.join(TAG), format!("{TAG_SIGNATURE}\n# Kept by llmpool analyze.\n")),
            });
            made.map_err(|error| FieldError {
                field: "cacheDir".to_owned(),
                message: format!("{}: {error}", folder.display()),
            })?;
        }
        Ok(store)
    }

    /// Blocks.
    pub fn get<A: Answer>(&self, key: &Key) -> Option<A> {
        let path = self.path(key)?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.warn(format!("cacheDir: {}: {error}; asked anew", path.display()));
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(Entry { version, .. }) if version != VERSION => None,
            entry => {
                let answer = entry.and_then(|Entry { answer, .. }| serde_json::from_value(answer));
                answer.inspect_err(|_| self.warn(format!("cacheDir: {} is damaged; asked anew", path.display()))).ok()
            }
        }
    }

    /// Blocks.
    pub fn put<A: Answer>(&self, key: &Key, answer: &A) {
        let Some(path) = self.path(key) else { return };
        let write = || {
            let answer = serde_json::to_value(answer)?;
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            replace_file(&path, &serde_json::to_vec(&Entry { version: VERSION, answer })?)
        };
        if let Err(error) = write() {
            // Each entry would say the same.
            self.warn(format!("cacheDir: results are not kept: {error}"));
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Folders of two digits: some file systems are slow with thousands of files in one.
    fn path(&self, Key(key): &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(&key[..2]).join(format!("{key}.json")))
    }

    fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::schema::{DirectoryAnswer, FileAnswer};
    use crate::analysis::tests::support::Folder;

    fn answer(summary: &str) -> DirectoryAnswer {
        DirectoryAnswer { summary: summary.to_owned(), key_components: Vec::new(), public_interfaces: Vec::new() }
    }

    fn prompt(user: &str) -> Prompt {
        Prompt { system: "s".to_owned(), user: user.to_owned() }
    }

    #[test]
    fn whatever_changes_the_request_changes_the_key() {
        let key = Key::of::<DirectoryAnswer>(&prompt("u"), None);
        assert_eq!(key, Key::of::<DirectoryAnswer>(&prompt("u"), None));
        assert_ne!(key, Key::of::<DirectoryAnswer>(&prompt("v"), None));
        assert_ne!(key, Key::of::<DirectoryAnswer>(&prompt("u"), Some("m")));
        assert_ne!(key, Key::of::<FileAnswer>(&prompt("u"), None));
        let moved = Prompt { system: "su".to_owned(), user: String::new() };
        assert_ne!(key, Key::of::<DirectoryAnswer>(&moved, None));
        let several = [key];
        assert_ne!(Key::together(&several, "m"), Key::together(&several, "n"));
    }

    #[test]
    fn what_was_kept_is_found_and_what_is_damaged_is_asked_anew() {
        let folder = Folder::new();
        let store = Store::open(Some(folder.path())).expect("a folder");
        let key = Key::of::<DirectoryAnswer>(&prompt("u"), None);
        assert_eq!(store.get::<DirectoryAnswer>(&key), None);
        store.put(&key, &answer("kept"));
        assert_eq!(store.get(&key), Some(answer("kept")));
        assert!(store.warnings().is_empty());
        let path = store.path(&key).expect("a path");
        for damaged in ["", "{", "[]", r#"{"version":1,"answer":{"summary":5}}"#] {
            std::fs::write(&path, damaged).expect("written");
            assert_eq!(store.get::<DirectoryAnswer>(&key), None, "{damaged}");
        }
        assert_eq!(store.warnings().len(), 1, "said once");
        std::fs::write(&path, r#"{"version":0,"answer":null}"#).expect("written");
        assert_eq!(store.get::<DirectoryAnswer>(&key), None, "of an older version");
        store.put(&key, &answer("anew"));
        assert_eq!(store.get(&key), Some(answer("anew")));
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let store = Store::open(None).expect("none");
        let key = Key::of::<DirectoryAnswer>(&prompt("u"), None);
        store.put(&key, &answer("gone"));
        assert_eq!((store.get::<DirectoryAnswer>(&key), store.warnings().len()), (None, 0));
    }

    #[test]
    fn a_folder_that_cannot_be_is_refused() {
        let folder = Folder::new();
        folder.write("file", "x");
        let error = Store::open(Some(&folder.path().join("file/cache"))).expect_err("a file is no folder");
        assert_eq!(error.field, "cacheDir");
    }
}
