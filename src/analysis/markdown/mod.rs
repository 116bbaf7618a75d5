//! An analysis as pages of Markdown: `README.md` for a folder, `<file>.md` for a file, each linked with the others.
//!
//! Nothing is written outside of the folder that is given: paths of results are taken apart and refused when they lead up,
//! and links on the way are not followed. A page that was not written by an analysis is never overwritten; all pages are
//! looked at before the first one is written.

mod page;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::results::{Analysis, ROOT};
use super::walk::GENERATED_MARK;
use crate::error::Error;
use crate::types::FieldError;

/// Of a folder: what code hosts show beside its list of files.
const INDEX: &str = "README.md";

/// Bytes of a name: file systems take 255, and `-2.md` comes behind.
const LONGEST_NAME: usize = 200;

/// Where the page of each path stands, from the folder of the pages.
pub(super) struct Places(BTreeMap<String, String>);

/// Writes the pages into a folder, which is made if it is not there, and says which they are. Blocks.
///
/// # Errors
/// Something stands in the way: a page that was not written by an analysis, a link, a path that leads out of the folder,
/// or what the file system says.
pub fn write_markdown(analysis: &Analysis, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if folder.as_os_str().is_empty() {
        return Err(refused("is empty").into());
    }
    let places = Places::of(analysis)?;
    let pages: Vec<(PathBuf, String)> =
        page::pages(analysis, &places).into_iter().map(|(place, text)| (PathBuf::from(place), text)).collect();
    for (place, _) in &pages {
        check(folder, place)?;
    }
    let mut written = Vec::with_capacity(pages.len());
    for (place, text) in pages {
        let path = folder.join(&place);
        write(folder, &place, &text).map_err(|error| refused(format!("{}: {error}", path.display())))?;
        written.push(path);
    }
    Ok(written)
}

impl Places {
    fn of(analysis: &Analysis) -> Result<Self, FieldError> {
        let mut places = Self(BTreeMap::new());
        // Some file systems take names for the same that differ in case only.
        let mut taken = BTreeSet::new();
        let folders = analysis.directories.iter().map(|directory| (directory.path.as_str(), true));
        let files = analysis.files.iter().map(|file| (file.path.as_str(), false));
        // The front page, whatever there is.
        for (path, is_folder) in [(analysis.path.as_str(), true)].into_iter().chain(folders).chain(files) {
            if places.0.contains_key(path) {
                continue;
            }
            if !is_inside(path) {
                return Err(refused(format!("a result has the path {path:?}, which leads out of the folder")));
            }
            let folders = |path: &str| path.split('/').map(folder_of).collect::<Vec<_>>().join("/");
            let wanted = match (is_folder, path.rsplit_once('/')) {
                (true, None) if path == ROOT => INDEX.to_owned(),
                (true, _) => format!("{}/{INDEX}", folders(path)),
                (false, Some((parent, name))) => format!("{}/{}.md", folders(parent), name_of(name)),
                (false, None) => format!("{}.md", name_of(path)),
            };
            let stem = wanted.strip_suffix(".md").unwrap_or(&wanted);
            let numbered = (2..).map(|number| format!("{stem}-{number}.md"));
            let free = std::iter::once(wanted.clone()).chain(numbered).find(|place| taken.insert(place.to_lowercase()));
            places.0.insert(path.to_owned(), free.unwrap_or_default());
        }
        Ok(places)
    }

    /// Where its page stands.
    fn place(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// The address of one page on another.
    fn link(&self, from: &str, to: &str) -> Option<String> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let (mut from, mut to) = (from.split('/').peekable(), to.split('/').peekable());
        while let (Some(a), Some(b)) = (from.peek(), to.peek())
            && a == b
        {
            from.next();
            to.next();
        }
        let up = from.count().saturating_sub(1);
        let down = to.map(words::address).collect::<Vec<_>>();
        Some(format!("{}{}", "../".repeat(up), down.join("/")))
    }
}

/// A path that names something below a folder.
fn is_inside(path: &str) -> bool {
    path == ROOT || path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The name of a page, as every file system takes it: signs that some of them refuse are written as in an address, and a
/// name that has no room for `-2.md` any more is cut and ends in a digest of itself.
fn name_of(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() || "\\:<>|\"?*".contains(c) {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| safe.push_str(&format!("%{byte:02X}")));
        } else {
            safe.push(c);
        }
    }
    if safe.len() <= LONGEST_NAME {
        return safe;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let digest: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut end = LONGEST_NAME - digest.len() - 1;
    while !safe.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{digest}", &safe[..end])
}

/// The name of a folder of pages: never one that a page may have, as the folder `notes.md` beside the file `notes`.
fn folder_of(name: &str) -> String {
    let name = name_of(name);
    if name.to_ascii_lowercase().ends_with(".md") { format!("{name}_") } else { name }
}

/// Whether the pages of what is going to be analysed may be written. Blocks.
///
/// # Errors
/// As [`write_markdown`], as far as it can be known before.
pub(super) fn check_markdown(analysis: &Analysis, folder: &Path) -> Result<(), FieldError> {
    let places = Places::of(analysis)?;
    let there = |path: &Path| path.symlink_metadata().is_ok();
    let standing = folder.ancestors().find(|above| there(above)).unwrap_or(Path::new("."));
    let metadata = fs::metadata(standing).map_err(|error| refused(format!("{}: {error}", standing.display())))?;
    if !metadata.is_dir() {
        return Err(refused(format!("{} is no folder", standing.display())));
    }
    if metadata.permissions().readonly() {
        return Err(refused(format!("{} may not be written to", standing.display())));
    }
    places.0.values().try_for_each(|place| check(folder, Path::new(place)))
}

/// Whether a page may be written there.
fn check(folder: &Path, place: &Path) -> Result<(), FieldError> {
    let mut at = folder.to_owned();
    for part in place.components() {
        at.push(part);
        let metadata = match at.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(refused(format!("{}: {error}", at.display()))),
        };
        if metadata.is_symlink() {
            return Err(refused(format!("{} is a link, which is not followed", at.display())));
        }
        let is_page = at == folder.join(place);
        if !metadata.is_file() && (is_page || !metadata.is_dir()) || metadata.is_file() && !is_page && is_ours(&at) {
            return Err(refused(format!("{} stands where a page has to; choose another folder", at.display())));
        }
        if metadata.is_file() && !is_ours(&at) {
            let shown = at.display();
            return Err(refused(format!("{shown} is there and was not written by an analysis; choose another folder")));
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(GENERATED_MARK.len() as u64).read_to_end(&mut head));
    read.is_ok() && head == GENERATED_MARK.as_bytes()
}

fn write(folder: &Path, place: &Path, text: &str) -> std::io::Result<()> {
    let path = folder.join(place);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

fn refused(message: impl Into<String>) -> FieldError {
    FieldError { field: "dir".to_owned(), message: message.into() }
}
