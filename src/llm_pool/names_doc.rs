//! Holds `docs/rust.md` against the sources: every test that it names is there, and so is every name of ours; and
//! the sources against themselves: every public item is shown by an example.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

fn page() -> String {
    read("docs/rust.md").expect("the page is there")
}

/// The tables of names, row by row: what it is elsewhere, here, and what shows it.
fn rows(page: &str) -> Vec<[String; 3]> {
    let tables = page.split("## Names you may look for").nth(1).expect("the tables");
    let rows = tables.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("three cells: {cells:?}"))
    })
    .collect()
}

/// Why what stands in the last cell shows nothing; `None`: it does.
fn missing(shown_by: &str) -> Option<String> {
    let mut rest = shown_by;
    while !rest.is_empty() {
        let (word, after) = rest.strip_prefix("doctest ").unwrap_or(rest).strip_prefix('`')?.split_once('`')?;
        let quoted = after.strip_prefix(" \"").and_then(|after| after.split_once('"'));
        let found = match quoted {
            Some((title, _)) => read(word).is_some_and(|file| file.contains(&format!("it('{title}'"))),
            None if rest.starts_with("doctest ") => has_doctest(word),
            None if word.ends_with(".rs") => read(word).is_some(),
            None => has_test(word),
        };
        if !found {
            return Some(format!("{word} is not there, in {shown_by}"));
        }
        rest = quoted.map_or(after, |(_, after)| after).trim_start_matches(", ");
    }
    None
}

/// `engine::tests::breaker::name_of_a_test`, or a whole module of tests.
fn has_test(path: &str) -> bool {
    let parts: Vec<_> = path.split("::").collect();
    let Some((name, modules)) = parts.split_last() else { return false };
    let is_there = |file: &PathBuf| file.is_file();
    let module_of = |parts: &[&str]| {
        let base = root().join("src").join(parts.join("/"));
        [base.with_extension("rs"), base.join("mod.rs")].into_iter().find(is_there)
    };
    if module_of(&parts).is_some() {
        return true;
    }
    // Tests stand in a file of their own, or at the end of what they test.
    let inline = modules.strip_suffix(&["tests"]).and_then(module_of);
    let files = module_of(modules).into_iter().chain(inline);
    files.into_iter().any(|file| {
        let source = fs::read_to_string(file).expect("a readable source");
        let before = source.split(&format!("fn {name}()")).next().filter(|before| before.len() < source.len());
        before.is_some_and(|before| before.lines().rev().take(3).any(|line| line.contains("test")))
    })
}

/// `LlmPool::embed`, or a type alone: an item of the face whose documentation has an example.
fn has_doctest(item: &str) -> bool {
    let (owner, item) = item.split_once("::").map_or((None, item), |(owner, item)| (Some(owner), item));
    let files = fs::read_dir(root().join("src/llm_pool")).expect("the folder");
    files.map(|file| fs::read_to_string(file.expect("an entry").path()).expect("a source")).any(|source| {
        let head = owner.map_or(String::new(), |owner| format!("impl {owner} {{"));
        let Some((_, source)) = source.split_once(&head) else { return false };
        let words = match owner {
            Some(_) => [format!("pub fn {item}"), format!("pub async fn {item}")],
            None => [format!("pub struct {item} "), format!("pub struct {item}(")],
        };
        let at = words.iter().find_map(|word| source.find(word.as_str()));
        at.is_some_and(|at| {
            let above = source[..at].lines().rev().skip(1);
            let docs = above.take_while(|line| line.trim().starts_with("///") || line.trim().starts_with("#["));
            docs.into_iter().any(|line| line.trim().starts_with("/// ```"))
        })
    })
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let rows = rows(&page());
    assert!(rows.len() > 35, "{}", rows.len());
    let missing: Vec<_> = rows.iter().filter(|row| row[2] != "–").filter_map(|row| missing(&row[2])).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(rows.iter().all(|row| row[2] != "–"), "everything is shown");
}

#[test]
fn every_name_of_ours_on_the_page_is_one() {
    let face: String = ["mod", "look", "life", "client", "client_builder", "builder"]
        .iter()
        .filter_map(|name| read(&format!("src/llm_pool/{name}.rs")))
        .collect();
    for row in rows(&page()) {
        for name in row[1].split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            let (owner, item) = name.split_once("::").expect("looked for");
            let declared = [format!("fn {item}("), format!("fn {item}<")];
            let is_ours = match owner {
                "Behaviour" => crate::Behaviour::ALL.iter().any(|known| format!("{known:?}") == item),
                _ => face.contains(owner) && declared.iter().any(|word| face.contains(word)),
            };
            assert!(is_ours, "{name}, in {row:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_noticed() {
    for wrong in [
        "`engine::tests::breaker::nobody_wrote_this`",
        "`engine::tests::nobody`",
        "doctest `LlmPool::nobody`",
        "doctest `Nobody`",
        "`examples/nobody.rs`",
        "`__test__/stats.test.mjs` \"nobody wrote this\"",
        "`engine::tests::marks`, doctest `LlmPool::nobody`",
    ] {
        assert!(missing(wrong).is_some(), "{wrong}");
    }
    assert_eq!(missing("`engine::tests::marks`, doctest `LlmPool::new`, `examples/failover.rs`"), None);
}

/// What is public in a source and has neither an example nor a link to what has one.
fn unshown(source: &str) -> Vec<&str> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_public =
        |line: &str| ["pub fn ", "pub async fn ", "pub struct ", "pub enum "].iter().any(|word| line.starts_with(word));
    let is_shown = |at: usize| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        // An error that is told like another's shows nothing.
        let docs: Vec<_> = above.filter(|line| !line.starts_with("/// As [`")).collect();
        docs.iter().any(|line| line.starts_with("/// ```") || line.contains("[`"))
    };
    let public = (0..lines.len()).filter(|at| is_public(lines[*at]));
    public.filter(|at| !is_shown(*at)).map(|at| lines[at]).collect()
}

#[test]
fn every_public_item_is_shown() {
    for file in fs::read_dir(root().join("src/llm_pool")).expect("the folder") {
        let path = file.expect("an entry").path();
        if path.ends_with("names_doc.rs") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        assert_eq!(unshown(&source), Vec::<&str>::new(), "{}", path.display());
    }
    let bare = "/// Words.\n///\n/// # Errors\n/// As [`LlmPool::chat`].\npub fn bare() {}";
    assert_eq!(unshown(bare), ["pub fn bare() {}"]);
    assert_eq!(unshown("/// See [`LlmPool`].\n#[must_use]\npub struct Linked;"), Vec::<&str>::new());
}
