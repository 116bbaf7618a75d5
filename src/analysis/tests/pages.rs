//! The pages of an analysis, and what they never do.

use std::fs;
use std::path::Path;

use super::support::{Folder, Story, good, options};
use crate::analysis::{Analysis, DirectoryAnalysis, FileAnalysis, write_markdown};

async fn analysis() -> Analysis {
    let folder = Folder::new();
    for name in ["src/a b(1).rs", "src/deep/b.rs", "README", "src/README.md", "empty"] {
        folder.write(name, if name == "empty" { "" } else { name });
    }
    Story::new(good).project(&folder, &options()).await.expect("done")
}

fn files(folder: &Path, found: &mut Vec<String>, root: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found, root);
        } else {
            found.push(path.strip_prefix(root).expect("inside").display().to_string());
        }
    }
    found.sort();
}

#[tokio::test]
async fn there_is_a_page_for_everything_and_every_link_leads_to_one() {
    let out = Folder::new();
    let written = write_markdown(&analysis().await, out.path()).expect("written");
    let mut found = Vec::new();
    files(out.path(), &mut found, out.path());
    let expected = [
        "README-2.md",
        "README.md",
        "src/README.md",
        "src/README.md.md",
        "src/a b(1).rs.md",
        "src/deep/README.md",
        "src/deep/b.rs.md",
    ];
    assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>(), written.len()), (expected.to_vec(), 7));
    let mut links = 0;
    for place in &found {
        let text = fs::read_to_string(out.path().join(place)).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.replace("%20", " ").replace("%28", "(").replace("%29", ")");
            let target = out.path().join(place).parent().expect("a folder").join(&link);
            assert!(target.is_file(), "{place} → {link}");
            links += 1;
        }
    }
    assert!(links >= 10, "{links}");
}

#[tokio::test]
async fn a_page_reads_as_the_format_says() {
    let out = Folder::new();
    write_markdown(&analysis().await, out.path()).expect("written");
    let page = fs::read_to_string(out.path().join("src/deep/README.md")).expect("a page");
    for line in [
        "# 📁 Directory: `./src/deep`",
        "**Depth Level:** 2",
        "## Summary",
        "## 🎯 Key Components",
        "- **core** - Does it.",
        "## 📋 Child Summaries",
        "## 📚 External Dependencies",
        "- `serde`",
        "## 🔌 Public Interfaces",
        "- **run** (`🔧 Function`)  ",
        "  Runs.",
    ] {
        assert!(page.lines().any(|found| found == line), "{line:?} in {page}");
    }
    assert!(page.contains("1. [`b.rs`](b.rs.md): File: src/deep/b.rs as "), "{page}");
    let front = fs::read_to_string(out.path().join("README.md")).expect("a page");
    assert!(front.contains("# 📦 Project") && front.contains("## 🚫 Skipped\n\n- `empty`: is empty"), "{front}");
}

#[tokio::test]
async fn its_own_pages_are_written_over_and_nobody_elses() {
    let (out, analysis) = (Folder::new(), analysis().await);
    write_markdown(&analysis, out.path()).expect("written");
    write_markdown(&analysis, out.path()).expect("written over");
    let own = "# Written by hand\n";
    out.write("src/README.md", own);
    fs::remove_file(out.path().join("README.md")).expect("gone");
    let error = write_markdown(&analysis, out.path()).expect_err("in the way").to_string();
    assert!(error.contains("dir:") && error.contains("was not written by an analysis"), "{error}");
    assert_eq!(fs::read_to_string(out.path().join("src/README.md")).expect("there"), own);
    assert!(!out.path().join("README.md").exists(), "all are looked at before the first is written");
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_folder() {
    for path in ["../evil", "/etc/evil", "a/../../evil", "a//b", ""] {
        let out = Folder::new();
        let mut analysis = analysis().await;
        path.clone_into(&mut analysis.files[0].path);
        let error = write_markdown(&analysis, &out.path().join("docs")).expect_err(path).to_string();
        assert!(error.contains("leads out of the folder"), "{path}: {error}");
        assert!(!out.path().join("docs").exists());
    }
}

#[tokio::test]
async fn names_that_cannot_be_pages_are_written_otherwise() {
    let mut analysis = analysis().await;
    let long = "l".repeat(253);
    let names = ["a:b.js", "a\\b.js", &long, "notes", "notes.md/q.js", "README.md/q.js"];
    let file = analysis.files[0].clone();
    analysis.files = names.iter().map(|name| FileAnalysis { path: (*name).to_owned(), ..file.clone() }).collect();
    let directory = analysis.directories[0].clone();
    for path in ["notes.md", "README.md"] {
        analysis.directories.push(DirectoryAnalysis { path: path.to_owned(), ..directory.clone() });
    }
    let out = Folder::new();
    let written = write_markdown(&analysis, out.path()).expect("all of them");
    assert!(written.iter().all(|page| page.is_file()));
    assert!(out.path().join("a%3Ab.js.md").is_file() && out.path().join("notes.md_/q.js.md").is_file());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_on_the_way_is_not_followed() {
    let (out, elsewhere) = (Folder::new(), Folder::new());
    std::os::unix::fs::symlink(elsewhere.path(), out.path().join("src")).expect("a link");
    let error = write_markdown(&analysis().await, out.path()).expect_err("a link").to_string();
    assert!(error.contains("is a link"), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path()).expect("a folder").count(), 0);
}
