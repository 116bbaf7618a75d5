//! The analyser on this repository itself, over a provider that answers well, badly or half at random.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::support::{Asked, Folder, Reply, Story, good, kept_in, says, sorted};
use crate::analysis::{Analysis, UnitKind};

/// One in three answers can be used, by chance; the third to the same request always can: the analyser gives up after
/// that, and it is what comes before that is tried here.
fn moody(seed: u64) -> impl FnMut(&Asked) -> Reply + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut asked_before: HashMap<String, u32> = HashMap::new();
    move |asked| {
        let times = asked_before.entry(asked.head.clone()).or_default();
        *times += 1;
        let whole = asked.describe().to_string();
        let half: String = whole.chars().take(whole.chars().count() / 2).collect();
        match random.u8(..6) {
            _ if times.is_multiple_of(3) => good(asked),
            0 => says("{\"summary\": 5}", "stop"),
            1 => says("I would rather talk about the weather.", "stop"),
            2 => says(&half, "stop"),
            3 => says(&half, "length"),
            _ => good(asked),
        }
    }
}

/// A part of these sources that the tests of a debug build go through in seconds.
fn copy_of_the_sources(to: &Folder) -> usize {
    fn copy(from: &Path, name: &str, to: &Folder) -> usize {
        let entries = fs::read_dir(from.join(name)).expect("a folder").map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| {
                let name = format!("{name}/{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    return copy(from, &name, to);
                }
                to.write(&name, fs::read(entry.path()).expect("readable"));
                1
            })
            .sum()
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src/policy", "src/analysis", "src/cache", "src/adapter/json_schema"].iter().map(|name| copy(root, name, to)).sum()
}

/// Everything that a folder is made of was over before it.
fn is_bottom_up(story: &Story) -> bool {
    let progress = story.progress.lock().expect("whole");
    let is_above = |above: &str, below: &str| above == "." || below.starts_with(&format!("{above}/"));
    progress.iter().enumerate().all(|(at, each)| match each.kind {
        UnitKind::File => true,
        UnitKind::Directory => !progress[at + 1..].iter().any(|later| {
            later.kind != UnitKind::Project && later.path != each.path && is_above(&each.path, &later.path)
        }),
        UnitKind::Project => at + 1 == progress.len(),
    })
}

fn everything(analysis: &Analysis) -> Vec<String> {
    let files = analysis.files.iter().map(|file| file.path.clone());
    sorted(files.chain(analysis.directories.iter().map(|directory| directory.path.clone())).collect())
}

#[tokio::test]
async fn it_completes_bottom_up_and_sends_only_what_changed() {
    let (folder, kept) = (Folder::new(), Folder::new());
    let sources = copy_of_the_sources(&folder);
    assert!(sources > 50, "{sources}");
    let (story, options) = (Story::new(moody(13)), kept_in(&kept));

    let first = story.project(&folder, &options).await.expect("it completes");
    let asked = story.asked().len();
    assert_eq!((first.files.len(), first.failed.len(), first.skipped.len()), (sources, 0, 0), "{:?}", first.failed);
    assert!(first.project.is_some() && first.directories.len() >= 8);
    assert!(is_bottom_up(&story));
    assert!(asked > first.files.len() + first.directories.len() + 20, "answers were bad: {asked}");

    let second = story.project(&folder, &options).await.expect("it completes");
    assert_eq!((story.asked().len(), second.requests), (0, 0), "the second run sends nothing");
    assert_eq!((everything(&first), &first.project), (everything(&second), &second.project));

    folder.write("src/policy/breaker.rs", "// another breaker\n");
    story.project(&folder, &options).await.expect("it completes");
    let mut paths = sorted(story.paths());
    paths.dedup();
    assert_eq!(paths, [".", "src", "src/policy", "src/policy/breaker.rs", "the project"]);
}
