//! What becomes of answers that cannot be used, of files that are too long, of limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::support::{Asked, Folder, Story, good, kept_in, options, says};
use crate::analysis::{AnalysisOptions, Goal};
use crate::error::FailureClass;
use crate::transport::fake;

fn one_file(text: &str) -> Folder {
    let folder = Folder::new();
    folder.write("a.rs", text);
    folder
}

async fn ask(story: &Story, folder: &Folder) -> Result<crate::analysis::Analysis, crate::error::Error> {
    story.analyze(&folder.path().join("a.rs"), Goal::File, &options()).await
}

#[tokio::test(start_paused = true)]
async fn a_model_is_told_what_was_wrong_with_its_answer() {
    let folder = one_file("fn main() {}");
    for (bad, finish, told) in [
        ("{\"summary\":5}", "stop", "required property"),
        ("{\"type\":\"sou", "stop", "the answer is no JSON"),
        ("{\"type\":\"sou", "length", "cut off because it was too long"),
    ] {
        let story = Story::new(move |asked| {
            if asked.user.contains("Your last answer could not be used") { good(asked) } else { says(bad, finish) }
        });
        let analysis = ask(&story, &folder).await.expect("repaired");
        assert_eq!(analysis.files.len(), 1);
        let asked = story.asked();
        let last = &asked[asked.len() - 1];
        assert!(last.user.contains(told), "{}", last.user);
        assert!(asked.len() <= 3, "the pool asks twice, then it is told: {}", asked.len());
    }
}

#[tokio::test(start_paused = true)]
async fn repairs_end() {
    let folder = one_file("fn main() {}");
    let story = Story::new(|_| says("{}", "stop"));
    let error = ask(&story, &folder).await.expect_err("never good");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ModelOutputInvalid));
    assert!((3..=6).contains(&story.asked().len()));
    let cut = Story::new(|_| says("{", "length"));
    let error = ask(&cut, &folder).await.expect_err("never whole");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ModelOutputInvalid));
    assert_eq!(cut.asked().len(), 3);
    let declines = Story::new(|_| says("I cannot.", "content_filter"));
    let error = ask(&declines, &folder).await.expect_err("declined");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ContentFilter));
    assert_eq!(declines.asked().len(), 1, "telling would not help");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_for() {
    let folder = one_file("fn main() {}");
    let left = Arc::new(AtomicUsize::new(3));
    let story = Story::new(move |asked| {
        if left.load(Ordering::Relaxed) == 0 {
            return good(asked);
        }
        left.fetch_sub(1, Ordering::Relaxed);
        fake::reply(429, &[("retry-after", "60")], json!({ "error": { "message": "slow down" } }).to_string())
    });
    let started = crate::time::now().mono;
    ask(&story, &folder).await.expect("in the end");
    assert!(started.elapsed().as_secs() >= 180, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_day_is_not() {
    let story = Story::new(|_| fake::reply(429, &[("retry-after", "40000")], r#"{"error":{"message":"no"}}"#));
    let started = crate::time::now().mono;
    ask(&story, &one_file("fn main() {}")).await.expect_err("limited");
    assert!(started.elapsed().as_secs() < 60);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for() {
    let folder = Folder::new();
    (0..30).for_each(|number| drop(folder.write(&format!("{number}.rs"), format!("// {number}"))));
    let asked = Arc::new(AtomicUsize::new(0));
    let until: Arc<std::sync::Mutex<Option<crate::time::Instant>>> = Arc::default();
    let story = Story::new(move |each| {
        let now = crate::time::now().mono;
        let mut until = until.lock().expect("whole");
        if asked.fetch_add(1, Ordering::Relaxed) == 10 {
            *until = Some(now + std::time::Duration::from_secs(90));
        }
        if until.is_some_and(|until| now < until) { fake::reply(503, &[], "down") } else { good(each) }
    });
    let analysis = story.project(&folder, &options()).await.expect("in the end");
    assert_eq!((analysis.files.len(), analysis.failed), (30, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_was_there_is_told_soon() {
    let folder = Folder::new();
    (0..30).for_each(|number| drop(folder.write(&format!("{number}.rs"), format!("// {number}"))));
    let story = Story::new(|_| fake::reply(503, &[], "down"));
    let started = crate::time::now().mono;
    story.project(&folder, &options()).await.expect_err("down");
    assert!(started.elapsed().as_secs() < 300, "{:?}", started.elapsed());
}

/// Functions of ten lines.
fn long(functions: usize) -> String {
    let body = "    let value = compute_something(1, 2, 3);\n".repeat(8);
    (0..functions).map(|number| format!("fn function_{number}() {{\n{body}}}\n\n")).collect()
}

#[tokio::test]
async fn a_long_file_is_sent_in_parts_and_merged() {
    let (folder, kept) = (one_file(&long(60)), Folder::new());
    let story = Story::new(good);
    let options = AnalysisOptions { part_tokens: 1500, ..kept_in(&kept) };
    let path = folder.path().join("a.rs");
    let analysis = story.analyze(&path, Goal::File, &options).await.expect("merged");
    let asked = story.asked();
    let (merge, parts) = asked.split_last().expect("some");
    assert!(parts.len() >= 3, "{}", parts.len());
    for (part, number) in parts.iter().zip(1..) {
        let head = format!("File: a.rs, part {number} of {}, lines ", parts.len());
        assert!(part.head.starts_with(&head), "{}", part.head);
        let text = part.user.split_once(">\n").expect("a mark").1;
        assert!(text.starts_with("fn function_"), "cut between functions: {text:.40}");
        assert!(merge.user.contains(&part.head), "what came of every part is merged");
    }
    assert_eq!(analysis.files[0].path, "a.rs");
    let again = story.analyze(&path, Goal::File, &options).await.expect("kept");
    assert_eq!((again.files, story.asked().len()), (analysis.files, 0));

    // Another end: the parts before it are kept.
    folder.write("a.rs", long(60) + "fn last() {}\n");
    story.analyze(&path, Goal::File, &options).await.expect("merged");
    assert!(story.asked().len() <= 3, "the last part and the merge");
}

#[tokio::test]
async fn a_folder_of_very_many_files_is_described_in_groups() {
    let folder = Folder::new();
    (0..40).for_each(|number| drop(folder.write(&format!("{number}.rs"), format!("// {number}"))));
    let story = Story::new(good);
    let options = AnalysisOptions { part_tokens: 500, ..options() };
    let analysis = story.analyze(folder.path(), Goal::Directory, &options).await.expect("done");
    assert_eq!((analysis.directories.len(), analysis.directories[0].child_summaries.len()), (1, 40));
    let folders: Vec<_> = story.asked().into_iter().filter(|asked| asked.shape == "directory_analysis").collect();
    assert!(folders.len() > 3 && folders.iter().all(|asked| asked.user.len() < 6000), "{}", folders.len());
}

#[tokio::test]
async fn a_window_that_is_too_small_gets_smaller_parts_and_what_comes_of_them_is_kept() {
    let (folder, kept) = (one_file(&long(40)), Folder::new());
    let small = |asked: &Asked| {
        if asked.user.len() < 5000 {
            return good(asked);
        }
        let error = json!({ "error": { "message": "too long", "code": "context_length_exceeded" } });
        fake::reply(400, &[], error.to_string())
    };
    let (story, options) = (Story::new(small), kept_in(&kept));
    let path = folder.path().join("a.rs");
    let analysis = story.analyze(&path, Goal::File, &options).await.expect("in smaller parts");
    assert!(story.asked().len() > 4);
    let again = story.analyze(&path, Goal::File, &options).await.expect("kept");
    assert_eq!((again.files, story.asked().len()), (analysis.files, 0));
}
