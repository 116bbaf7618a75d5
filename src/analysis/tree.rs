//! What is analysed, and in which order: files, a folder when everything in it is over, the project last.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::results::{ROOT, UnitKind};
use super::walk::Found;

/// The units of an analysis. Those that wait for nothing are handed out; the end of one may free the next.
pub(super) struct Tree {
    units: Vec<Unit>,
    /// Units whose children are all over. Folders go first: what is freed last is what the end waits for.
    ready: VecDeque<usize>,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub kind: UnitKind,
    /// From the root.
    pub path: String,
    /// The file, by its place in the walk.
    pub found: Option<usize>,
    /// By path.
    pub children: Vec<usize>,
    parent: Option<usize>,
    /// Children that are not over.
    pending: usize,
}

impl Tree {
    /// `top` is the folder that is analysed; files stand in it. Without a top the files stand alone.
    pub fn new(files: &[Found], top: Option<&str>, project: bool) -> Self {
        let mut tree = Self { units: Vec::new(), ready: VecDeque::new() };
        let mut folders = BTreeMap::new();
        let above = project.then(|| tree.add(UnitKind::Project, ROOT.to_owned(), None, None));
        for (at, file) in files.iter().enumerate() {
            let folder = top.map(|top| tree.folder(parent_of(&file.path), top, above, &mut folders));
            let unit = tree.add(UnitKind::File, file.path.clone(), folder, Some(at));
            tree.ready.push_back(unit);
        }
        for at in 0..tree.units.len() {
            let mut children = std::mem::take(&mut tree.units[at].children);
            children.sort_by(|a, b| tree.units[*a].path.cmp(&tree.units[*b].path));
            tree.units[at].children = children;
        }
        tree
    }

    fn folder(&mut self, path: &str, top: &str, above: Option<usize>, folders: &mut BTreeMap<String, usize>) -> usize {
        if let Some(unit) = folders.get(path) {
            return *unit;
        }
        let parent =
            if path == top || path == ROOT { above } else { Some(self.folder(parent_of(path), top, above, folders)) };
        let unit = self.add(UnitKind::Directory, path.to_owned(), parent, None);
        folders.insert(path.to_owned(), unit);
        unit
    }

    fn add(&mut self, kind: UnitKind, path: String, parent: Option<usize>, found: Option<usize>) -> usize {
        let unit = self.units.len();
        self.units.push(Unit { kind, path, found, children: Vec::new(), parent, pending: 0 });
        if let Some(parent) = parent {
            self.units[parent].children.push(unit);
            self.units[parent].pending += 1;
        }
        unit
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    pub fn unit(&self, unit: usize) -> &Unit {
        &self.units[unit]
    }

    /// The next that waits for nothing.
    pub fn next(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }

    /// It is over, however it ended.
    pub fn over(&mut self, unit: usize) {
        let Some(parent) = self.units[unit].parent else { return };
        self.units[parent].pending -= 1;
        if self.units[parent].pending == 0 {
            self.ready.push_front(parent);
        }
    }
}

/// The folder that something stands in.
pub(super) fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(ROOT, |(parent, _)| parent)
}

/// How many folders below the root.
pub(super) fn depth_of(path: &str) -> u32 {
    if path == ROOT { 0 } else { path.split('/').count() as u32 }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn order(paths: &[&str], top: Option<&str>, project: bool) -> Vec<String> {
        let found = |path: &&str| Found { path: (*path).to_owned(), file: PathBuf::new(), bytes: 0 };
        let files: Vec<_> = paths.iter().map(found).collect();
        let mut tree = Tree::new(&files, top, project);
        let mut order = Vec::new();
        while let Some(unit) = tree.next() {
            order.push(format!("{:?} {}", tree.unit(unit).kind, tree.unit(unit).path));
            tree.over(unit);
        }
        assert_eq!(order.len(), tree.len(), "each comes once");
        order
    }

    #[test]
    fn a_folder_comes_as_soon_as_everything_in_it_is_over() {
        assert_eq!(
            order(&["a/b/one", "a/two", "three"], Some(ROOT), true),
            ["File a/b/one", "Directory a/b", "File a/two", "Directory a", "File three", "Directory .", "Project ."],
        );
        assert_eq!(order(&["a/b/one"], Some("a/b"), true), ["File a/b/one", "Directory a/b", "Project ."]);
        assert_eq!(order(&["a/one"], None, false), ["File a/one"]);
    }

    #[test]
    fn depth_counts_from_the_root() {
        assert_eq!((depth_of(ROOT), depth_of("src"), depth_of("src/llm_interface/pool")), (0, 1, 3));
    }
}
