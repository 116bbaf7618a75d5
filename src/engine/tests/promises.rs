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
