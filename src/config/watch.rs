//! Notices that a configuration file may have changed.
//!
//! Editors write a new file and rename it over the old one, or truncate and write; container platforms swap a symbolic
//! link; deployments delete and put back. Watching the file itself misses most of it, so its folder is watched, and the
//! folder of every link on the way to it. What happened there is not interpreted: whoever waits reads the file again and
//! sees for itself. On file systems that tell nothing (network mounts, some bind mounts) only reading now and then helps;
//! that is `checkInterval`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::time;

/// A file that is being written is left alone until nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(200);
/// In a folder where something happens all the time, the file is read at least so often.
const LONGEST: Duration = Duration::from_secs(2);
/// A folder that is gone tells nothing when it comes back: it is looked for.
const MISSING: Duration = Duration::from_secs(1);
/// As many links as file systems follow.
const MAX_LINKS: usize = 40;

/// Watches one file, and those that are read for it. Dropping it ends the watching.
pub struct Watch {
    path: PathBuf,
    others: Mutex<Vec<PathBuf>>,
    happened: Arc<Notify>,
    watcher: Mutex<Watching>,
}

struct Watching {
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    /// Not every folder could be watched.
    missing: bool,
}

impl Watch {
    /// Begins to watch; what happens from now on is noticed.
    ///
    /// # Errors
    /// Why this system does not watch.
    pub fn new(path: &Path) -> Result<Self, String> {
        let happened = Arc::new(Notify::new());
        let bell = Arc::clone(&happened);
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                bell.notify_one();
            }
        };
        let watcher = RecommendedWatcher::new(on_event, Config::default()).map_err(|error| error.to_string())?;
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let watch = Self {
            watcher: Mutex::new(Watching { watcher, folders: Vec::new(), missing: false }),
            others: Mutex::default(),
            path,
            happened,
        };
        watch.aim()?;
        Ok(watch)
    }

    /// Further files that matter from now on, instead of those so far.
    pub fn also(&self, files: &[PathBuf]) {
        let whole: Vec<_> = files.iter().filter_map(|file| std::path::absolute(file).ok()).collect();
        let before = std::mem::replace(&mut *self.others.lock().unwrap_or_else(PoisonError::into_inner), whole.clone());
        if before == whole {
            return; // aiming anew, something could be missed
        }
        let _ = self.aim(); // what cannot be watched now is tried again with every change
    }

    /// Waits until something has happened around the file and it is quiet again.
    pub async fn changed(&self) {
        let missing = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).missing;
        let wake = missing.then(|| time::now().mono + MISSING);
        if time::until(wake, self.happened.notified()).await.is_ok() {
            let latest = time::now().mono + LONGEST;
            while time::now().mono < latest
                && time::until(Some(time::now().mono + QUIET), self.happened.notified()).await.is_ok()
            {}
        }
        // Before the file is read: a link may lead elsewhere now, and a folder may be another one of the same name.
        let _ = self.aim();
    }

    /// Watches the folders that matter now.
    fn aim(&self) -> Result<(), String> {
        let mut watching = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Watching { watcher, folders, missing } = &mut *watching;
        for folder in folders.drain(..) {
            let _ = watcher.unwatch(&folder); // one that is gone is no longer watched
        }
        *missing = false;
        let mut result = Ok(());
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wanted = folders_of(&self.path);
        for folder in others.iter().flat_map(|file| folders_of(file)) {
            if !wanted.contains(&folder) {
                wanted.push(folder);
            }
        }
        for folder in wanted {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => folders.push(folder),
                Err(error) => {
                    *missing = true;
                    // A folder that is not there yet may come; anything else will not mend itself.
                    if folder.is_dir() {
                        result = Err(error.to_string());
                    }
                }
            }
        }
        result
    }
}

/// Reading the file tells the watcher of a file being opened and closed: that is no change.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// The folder of the file, and of what each link on the way leads to.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut at = path.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = at.parent().unwrap_or(Path::new("/")).to_owned();
        let target = std::fs::read_link(&at).ok().map(|target| folder.join(target));
        if !folders.contains(&folder) {
            folders.push(folder);
        }
        match target {
            Some(target) => at = target,
            None => break,
        }
    }
    folders
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_folder_on_the_way_matters() {
        let root = std::env::temp_dir().join(format!("llmpool-watch-{}", std::process::id()));
        for folder in ["a", "b", "c"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        std::fs::write(root.join("c/real.json"), "{}").expect("a file");
        symlink("../b/link.json", root.join("a/config.json")).expect("a link");
        symlink(root.join("c/real.json"), root.join("b/link.json")).expect("a link");
        symlink("loop", root.join("a/loop")).expect("a link to itself");
        let found = folders_of(&root.join("a/config.json"));
        let looped = folders_of(&root.join("a/loop"));
        std::fs::remove_dir_all(&root).expect("removed");
        assert_eq!(found, [root.join("a"), root.join("a/../b"), root.join("c")]);
        assert_eq!(looped, [root.join("a")]);
    }

    #[test]
    fn looking_at_a_file_is_no_change() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_change(EventKind::Any) && is_change(EventKind::Modify(notify::event::ModifyKind::Any)));
    }
}
