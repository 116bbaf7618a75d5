//! What an analysis would send, said before it does.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::support::{Folder, Story, good, kept_in};
use crate::analysis::{AnalysisOptions, Estimate, Goal, estimate};

async fn estimated(story: &Story, folder: &Folder, options: &AnalysisOptions) -> Estimate {
    let estimate = estimate(&story.pool, folder.path(), Goal::Project, options, &CancellationToken::new()).await;
    estimate.expect("an estimate")
}

#[tokio::test]
async fn it_counts_what_would_be_sent_and_sends_nothing() {
    let (folder, kept) = (Folder::new(), Folder::new());
    folder.write("src/a.rs", "fn main() {}\n".repeat(30));
    folder.write("src/b.rs", "const PASSWORD: &str = \"hunter22\";");
    folder.write("c.png", b"\0");
    let (story, options) = (Story::new(good), kept_in(&kept));
    let before = estimated(&story, &folder, &options).await;
    assert!(story.asked().is_empty());
    assert_eq!((before.files.len(), before.directories, before.skipped.len(), before.masked), (2, 2, 1, 1));
    assert_eq!((before.requests, before.cached), (5, 0));
    assert!(before.files[0].prompt_tokens > before.files[1].prompt_tokens + 60, "{:?}", before.files);
    assert!(before.cost.is_some_and(|cost| cost.0 > 0));

    let analysis = story.project(&folder, &options).await.expect("done");
    assert_eq!(analysis.requests, before.requests);
    let after = estimated(&story, &folder, &options).await;
    assert_eq!((after.cached, after.requests), (2, 3), "folders are always counted");
}

#[tokio::test]
async fn a_long_file_counts_with_its_parts_and_their_merge() {
    let folder = Folder::new();
    folder.write("a.rs", "let value = compute_something(1, 2, 3);\n".repeat(500));
    let story = Story::new(good);
    let options = AnalysisOptions { part_tokens: 1500, ..AnalysisOptions::default() };
    let before = estimated(&story, &folder, &options).await;
    assert!(before.files[0].parts > 2);
    let analysis = story.project(&folder, &options).await.expect("done");
    assert_eq!(analysis.requests, before.requests);
}

#[tokio::test]
async fn a_price_that_is_not_known_is_not_guessed() {
    let folder = Folder::new();
    folder.write("a.rs", "x");
    let unpriced = json!({ "input_token_price": null, "output_token_price": null });
    let story = Story::with(unpriced, good);
    assert_eq!(estimated(&story, &folder, &AnalysisOptions::default()).await.cost, None);
    let analysis = story.project(&folder, &AnalysisOptions::default()).await.expect("done");
    assert_eq!(analysis.cost, None);
}
