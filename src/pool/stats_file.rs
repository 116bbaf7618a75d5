//! What a pool came to, on disk, so that a restart forgets neither what was asked nor what was spent.
//!
//! One pool writes one file: two would overwrite each other's sums, so an OS lock on a file beside it keeps a second one
//! out, and goes with its process however that ends. The file is always replaced whole. One that cannot be read is set
//! aside, never overwritten.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::control::{Control, refused};
use crate::config::replace_file;
use crate::engine::{Engine, SavedBudgets, SavedTenant};
use crate::error::Error;
use crate::event::trace;
use crate::metrics::Totals;
use crate::policy::DayCounts;
use crate::time;

/// Of the file's shape. A file of another one is set aside; a section that an older version did not write is empty.
const VERSION: u32 = 1;

/// As many links in a row as Linux follows.
const MOST_LINKS: u32 = 40;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    pub totals: Totals,
    /// What was spent of the days and months under way.
    #[serde(default)]
    pub budgets: SavedBudgets,
    /// What every provider has used of its day, by name.
    #[serde(default)]
    pub days: BTreeMap<String, DayCounts>,
    /// What every tenant has used, by id.
    #[serde(default)]
    pub tenants: BTreeMap<String, SavedTenant>,
}

/// The file, for as long as this pool may write it.
pub(super) struct StatsFile {
    path: PathBuf,
    /// Dropped, it lets the next pool in.
    _lock: File,
    /// What was written last: the same again is not worth a write.
    written: Vec<u8>,
}

impl Saved {
    pub fn of(engine: &Engine) -> Self {
        Self {
            version: VERSION,
            totals: engine.totals(),
            budgets: engine.saved_budgets(),
            days: engine.day_counts(),
            tenants: engine.saved_tenants(),
        }
    }

    pub fn restore_to(&self, engine: &Engine) {
        let Self { version: _, totals, budgets, days, tenants } = self;
        engine.restore_totals(totals);
        engine.restore_budgets(budgets);
        engine.restore_days(days);
        engine.restore_tenants(tenants);
    }
}

impl StatsFile {
    /// Takes the file for this pool and reads what is in it, with what there is to say about that. Blocks.
    pub fn open(path: &Path) -> Result<(Self, Saved, Option<String>), Error> {
        let shown = path.display();
        // Whatever it is called: by each of its names it is the same file, and the link that leads to it stays one.
        let path = &resolved(path);
        let lock = beside(path, "lock");
        let file = OpenOptions::new().create(true).append(true).open(&lock);
        let file =
            file.map_err(|error| refused("statsFile", format!("{}: cannot be written: {error}", lock.display())))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{shown}: another pool writes this file; each pool needs one of its own");
                return Err(refused("statsFile", message));
            }
            Err(TryLockError::Error(error)) => {
                return Err(refused("statsFile", format!("{}: cannot be locked: {error}", lock.display())));
            }
        }
        let (saved, note) = match std::fs::read(path) {
            Ok(bytes) => match serde_json::from_slice::<Saved>(&bytes) {
                Ok(saved) if saved.version == VERSION => (saved, None),
                _ => (Saved::default(), Some(set_aside(path)?)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => (Saved::default(), None),
            Err(error) => return Err(refused("statsFile", format!("{shown}: cannot be read: {error}"))),
        };
        Ok((Self { path: path.to_owned(), _lock: file, written: Vec::new() }, saved, note))
    }

    /// Writes it, if it is not what was written last. Blocks.
    pub fn save(&mut self, saved: &Saved) -> Result<(), Error> {
        let said = |said: String| refused("statsFile", format!("{}: {said}", self.path.display()));
        let bytes = serde_json::to_vec(saved).map_err(|error| said(error.to_string()))?;
        if self.written != bytes {
            replace_file(&self.path, &bytes).map_err(|error| said(format!("cannot be written: {error}")))?;
            self.written = bytes;
        }
        Ok(())
    }
}

/// The file behind the links, in a folder by its real name; the path as it is where that cannot be told.
fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // It need not be there yet, so its links are followed one by one. More of them than a system follows go in a circle.
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target)),
            Err(_) => break,
        }
    }
    let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

fn set_aside(path: &Path) -> Result<String, Error> {
    let (shown, aside) = (path.display(), beside(path, "damaged"));
    match std::fs::rename(path, &aside) {
        Ok(()) => Ok(format!(
            "statsFile: {shown} cannot be read as what a pool has saved; it was set aside as {}, and counting begins anew",
            aside.display()
        )),
        Err(error) => Err(refused("statsFile", format!("{shown}: is damaged and cannot be set aside: {error}"))),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The task that saves from time to time. It holds no pool: when that is gone or shut down, it ends.
#[must_use = "nothing is saved until it runs"]
pub struct Saver {
    pub(super) control: Weak<Control>,
    pub(super) stop: CancellationToken,
    pub(super) interval: Duration,
}

impl Saver {
    /// Runs until the pool is gone or shut down. `tell` hears of what cannot be saved, once until it can be again.
    pub async fn run(self, tell: impl Fn(Error)) {
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = time::sleep_until(time::now().mono + self.interval) => {}
            }
            let Some(control) = self.control.upgrade() else { return };
            let saved = tokio::select! {
                biased;
                // The shutdown saves for the last time by itself.
                () = self.stop.cancelled() => return,
                saved = control.save_stats() => saved,
            };
            match saved {
                Ok(()) => told = false,
                Err(error) => {
                    if !told {
                        trace::rejected("saving statistics", &error);
                        tell(error);
                    }
                    told = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DayCount;

    /// A path of its own in a folder that is gone at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("llmpool-stats-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            Self(folder.join("stats.json"))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.parent().expect("a folder"));
        }
    }

    fn some() -> Saved {
        let mut totals = Totals::default();
        totals.pool.total_requests = 7;
        let day = DayCounts { requests: Some(DayCount { begins: 1, ends: 2, count: 3 }), tokens: None };
        let days = BTreeMap::from([("a".to_owned(), day)]);
        Saved { version: VERSION, totals, budgets: SavedBudgets::default(), days, tenants: BTreeMap::new() }
    }

    #[test]
    fn what_was_saved_is_found_by_the_next_pool_and_by_no_second_one() {
        let place = Place::new("next");
        let (mut file, found, note) = StatsFile::open(&place.0).expect("free");
        assert_eq!((found, note), (Saved::default(), None));
        file.save(&some()).expect("written");
        let Err(second) = StatsFile::open(&place.0) else { panic!("there is one already") };
        assert!(second.to_string().contains("another pool writes this file"), "{second}");
        drop(file);
        let (_file, found, note) = StatsFile::open(&place.0).expect("free again");
        assert_eq!((found, note), (some(), None));
    }

    #[cfg(unix)]
    #[test]
    fn by_whatever_name_it_is_the_same_file() {
        use std::os::unix::fs::symlink;
        let place = Place::new("links");
        let folder = place.0.parent().expect("a folder");
        std::fs::create_dir(folder.join("real")).expect("a folder");
        symlink("real", folder.join("other")).expect("a link");
        // To a file that is not there yet, over a link to its folder.
        symlink("other/stats.json", &place.0).expect("a link");
        let (mut file, ..) = StatsFile::open(&place.0).expect("free");
        file.save(&some()).expect("written");
        assert!(place.0.is_symlink(), "the link is still one");
        for name in ["stats.json", "real/stats.json", "other/stats.json", "real/../real/stats.json"] {
            let Err(second) = StatsFile::open(&folder.join(name)) else { panic!("{name}: there is one already") };
            assert!(second.to_string().contains("another pool writes this file"), "{second}");
        }
        drop(file);
        assert_eq!(StatsFile::open(&folder.join("real/stats.json")).expect("free again").1, some());
        // A circle ends.
        symlink("b", folder.join("a")).and_then(|()| symlink("a", folder.join("b"))).expect("links");
        assert!(StatsFile::open(&folder.join("a")).is_err());
    }

    #[test]
    fn a_file_of_an_older_version_has_no_days() {
        let place = Place::new("older");
        std::fs::write(&place.0, r#"{"version":1,"totals":{}}"#).expect("a file");
        let (_file, found, note) = StatsFile::open(&place.0).expect("usable");
        assert_eq!((found.days.len(), note), (0, None));
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        for text in ["", "{", "[]", "{ \"version\": 1 }", "{ \"version\": 99, \"totals\": {} }"] {
            let place = Place::new("damaged");
            std::fs::write(&place.0, text).expect("a file");
            let (mut file, found, note) = StatsFile::open(&place.0).expect("usable");
            assert_eq!(found, Saved::default());
            let aside = beside(&place.0, "damaged");
            assert!(note.expect("said").contains(&aside.display().to_string()));
            assert_eq!(std::fs::read_to_string(aside).expect("kept"), text);
            file.save(&some()).expect("written");
        }
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        for path in ["/no/such/folder/stats.json", "/dev/null/stats.json"] {
            assert!(StatsFile::open(Path::new(path)).is_err(), "{path}");
        }
        let place = Place::new("folder");
        std::fs::create_dir(&place.0).expect("a folder");
        assert!(StatsFile::open(&place.0).is_err());
    }
}
