//! `docs/resilience.md` names the test of each promise; a name that no test has is a promise that nobody keeps.

use std::path::Path;

#[test]
fn every_test_that_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/resilience.md")).expect("docs/resilience.md");
    // Between backticks, every second piece is code.
    let named: Vec<_> = page.split('`').skip(1).step_by(2).collect();
    let mut missing = Vec::new();
    for name in named {
        if name.starts_with("__test__/") || name.starts_with("src/") {
            if !root.join(name).exists() {
                missing.push(name);
            }
        } else if let [module @ .., test] = name.split("::").collect::<Vec<_>>().as_slice()
            && ["engine", "policy", "adapter", "transport"].contains(module.first().unwrap_or(&""))
        {
            let source = |path: &[&str]| {
                let file = root.join("src").join(path.join("/"));
                [file.with_extension("rs"), file.join("mod.rs"), file.join("tests.rs")]
                    .iter()
                    .filter_map(|file| std::fs::read_to_string(file).ok())
                    .collect::<String>()
            };
            let is_test = source(module).contains(&format!("fn {test}("));
            let is_module = !source(&[module, &[*test]].concat()).is_empty();
            if !is_test && !is_module {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_promise_names_its_test_and_every_section_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/resilience.md")).expect("docs/resilience.md");
    let mut missing = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---")).collect();
        let Some((head, rows)) = rows.split_first() else { continue };
        if !head.ends_with("| test |") {
            continue;
        }
        if !section.contains("`src/") {
            missing.push(format!("{title}: where in the code?"));
        }
        for row in rows {
            let test = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            if !test.contains('`') {
                missing.push(format!("{title}: no test for {row}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
