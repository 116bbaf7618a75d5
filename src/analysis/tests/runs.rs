//! The order of an analysis, what it keeps, what it survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::support::{Asked, Folder, Story, good, kept_in, options};
use crate::analysis::{AnalysisOptions, Audience, Depth, Goal, Outcome, UnitKind};
use crate::error::ErrorKind;
use crate::transport::fake;

fn project() -> Folder {
    let folder = Folder::new();
    for name in ["src/a.rs", "src/deep/b.rs", "src/deep/c.rs", "main.rs"] {
        folder.write(name, format!("// {name}"));
    }
    folder
}

#[tokio::test]
async fn files_come_first_then_their_folders_then_the_project() {
    let story = Story::new(good);
    let analysis = story.project(&project(), &options()).await.expect("done");
    let order = story.paths();
    let at = |path: &str| order.iter().position(|asked| asked == path).expect(path);
    assert!(at("src/deep/b.rs").max(at("src/deep/c.rs")) < at("src/deep"));
    assert!(at("src/deep").max(at("src/a.rs")) < at("src"));
    assert!(at("src").max(at("main.rs")) < at("."));
    assert_eq!(at("the project"), 7);

    let progress = story.progress.lock().expect("whole").clone();
    assert_eq!(progress.iter().map(|each| each.done).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(progress.iter().all(|each| each.total == 8 && each.outcome == Outcome::Analyzed));
    assert_eq!(progress[7].kind, UnitKind::Project);

    assert_eq!(
        analysis.directories.iter().map(|each| each.path.as_str()).collect::<Vec<_>>(),
        [".", "src", "src/deep"]
    );
    assert_eq!((analysis.requests, analysis.usage.total_tokens, analysis.cached), (8, 880, 0));
    assert_eq!(analysis.cost.map(|cost| cost.0), Some(8 * 120_000), "100 and 10 tokens at the provider's prices");
    let source = &analysis.directories[1];
    let children: Vec<_> = source.child_summaries.iter().map(|child| (child.path.as_str(), child.kind)).collect();
    assert_eq!(children, [("src/a.rs", UnitKind::File), ("src/deep", UnitKind::Directory)]);
    let all = ["of-src/a.rs", "of-src/deep/b.rs", "of-src/deep/c.rs", "serde"];
    assert_eq!(source.external_dependencies, all, "of everything below, once");
}

#[tokio::test]
async fn a_folder_is_told_what_its_children_came_to() {
    let story = Story::new(good);
    story.project(&project(), &options()).await.expect("done");
    let asked = story.asked();
    let of = |path: &str| asked.iter().find(|asked| asked.path() == path).expect(path).user.clone();
    assert!(of("src").contains("File: src/a.rs as ") && of("src").contains("Directory: src/deep as "));
    assert!(!of("src").contains("File: src/deep/b.rs as "), "only what is right in it");
    let project = of("the project");
    assert!(project.contains("Directory: . as ") && project.contains("Directory: src as "), "{project}");
}

#[tokio::test]
async fn the_second_run_sends_only_what_changed() {
    let (folder, kept) = (project(), Folder::new());
    let (story, options) = (Story::new(good), kept_in(&kept));
    let first = story.project(&folder, &options).await.expect("done");
    assert_eq!(story.asked().len(), 8);
    let second = story.project(&folder, &options).await.expect("done");
    assert_eq!((story.asked().len(), second.requests, second.cached), (0, 0, 8));
    assert_eq!(
        (&first.project, &first.directories, &first.files),
        (&second.project, &second.directories, &second.files)
    );
    assert_eq!(second.cost.map(|cost| cost.0), Some(0));

    folder.write("src/deep/b.rs", "// changed");
    story.project(&folder, &options).await.expect("done");
    assert_eq!(story.paths(), ["src/deep/b.rs", "src/deep", "src", ".", "the project"]);

    // A file that is gone is missed by the folders above it.
    std::fs::remove_file(folder.path().join("src/a.rs")).expect("gone");
    story.project(&folder, &options).await.expect("done");
    assert_eq!(story.paths(), ["src", ".", "the project"]);
}

#[tokio::test]
async fn a_change_that_changes_no_result_goes_no_further() {
    let (folder, kept) = (project(), Folder::new());
    let same = |asked: &Asked| {
        let mut answer = asked.describe();
        if asked.shape == "file_analysis" {
            answer["summary"] = "The same.".into();
        }
        super::support::says(&answer.to_string(), "stop")
    };
    let (story, options) = (Story::new(same), kept_in(&kept));
    story.project(&folder, &options).await.expect("done");
    story.asked();
    folder.write("src/a.rs", "// another comment");
    story.project(&folder, &options).await.expect("done");
    assert_eq!(story.paths(), ["src/a.rs"]);
}

#[tokio::test]
async fn whatever_is_asked_otherwise_is_asked_anew() {
    let (folder, kept) = (project(), Folder::new());
    let story = Story::new(good);
    let kept = kept_in(&kept);
    story.project(&folder, &kept).await.expect("done");
    story.asked();
    for changed in [
        AnalysisOptions { depth: Depth::Deep, ..kept.clone() },
        AnalysisOptions { audience: Audience::Llm, ..kept.clone() },
        AnalysisOptions { project_type: Some("a web shop".to_owned()), ..kept.clone() },
        AnalysisOptions { model: Some("m".to_owned()), ..kept.clone() },
    ] {
        story.project(&folder, &changed).await.expect("done");
        assert_eq!(story.asked().len(), 8, "{changed:?}");
    }
    // These say nothing to a model.
    let same = AnalysisOptions { concurrency: std::num::NonZeroU32::MIN, max_file_bytes: 999, ..kept };
    story.project(&folder, &same).await.expect("done");
    assert_eq!(story.asked().len(), 0);
}

#[tokio::test]
async fn what_is_kept_is_not_analysed_where_it_stands_in_the_folder() {
    let folder = project();
    let (story, options) = (Story::new(good), kept_in(&folder));
    for asked in [8, 0] {
        let analysis = story.project(&folder, &options).await.expect("done");
        assert_eq!((analysis.files.len(), story.asked().len()), (4, asked));
    }
}

#[tokio::test]
async fn a_file_that_fails_is_reported_and_sinks_nothing() {
    let (folder, kept) = (project(), Folder::new());
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let story = Story::new(move |asked| match asked.path().as_str() {
        "src/a.rs" if is_broken.load(Ordering::Relaxed) => fake::reply(400, &[], r#"{"error":{"message":"no"}}"#),
        _ => good(asked),
    });
    let options = kept_in(&kept);
    let analysis = story.project(&folder, &options).await.expect("the rest");
    let failed: Vec<_> = analysis.failed.iter().map(|each| (each.path.as_str(), each.kind)).collect();
    assert_eq!(failed, [("src/a.rs", UnitKind::File)]);
    assert_eq!(analysis.failed[0].error_class.as_deref(), Some("invalid_request"));
    assert_eq!((analysis.files.len(), analysis.directories.len(), analysis.project.is_some()), (3, 3, true));
    assert_eq!(analysis.directories[1].child_summaries.len(), 1, "made without it");
    story.asked();
    broken.store(false, Ordering::Relaxed);
    let again = story.project(&folder, &options).await.expect("all of it");
    assert_eq!((again.failed.len(), again.files.len()), (0, 4));
    assert_eq!(story.paths(), ["src/a.rs", "src", ".", "the project"], "what was missing, and what stands above it");
}

#[tokio::test]
async fn when_nothing_comes_of_it_the_first_failure_is_the_error() {
    let story = Story::new(|_| fake::reply(401, &[], r#"{"error":{"message":"bad key"}}"#));
    let error = story.project(&project(), &options()).await.expect_err("nothing");
    assert!(!matches!(error.kind(), ErrorKind::Internal), "{error}");
    assert!(story.paths().iter().all(|path| path.ends_with(".rs")), "no folder of nothing is asked for");
}

#[tokio::test]
async fn no_more_is_under_way_than_allowed() {
    let folder = Folder::new();
    (0..20).for_each(|number| drop(folder.write(&format!("{number}.rs"), format!("// {number}"))));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counting, seen) = (Arc::clone(&now), Arc::clone(&most));
    let story = Story::new(move |asked| {
        let under_way = counting.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(under_way, Ordering::SeqCst);
        let (counting, answer) = (Arc::clone(&counting), good(asked));
        Box::pin(async move {
            tokio::task::yield_now().await;
            counting.fetch_sub(1, Ordering::SeqCst);
            answer.await
        })
    });
    let options = AnalysisOptions { concurrency: 3.try_into().expect("not zero"), ..options() };
    story.project(&folder, &options).await.expect("done");
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn what_is_cancelled_keeps_what_it_has_and_goes_on_the_next_time() {
    let (folder, kept) = (project(), Folder::new());
    let gate = Arc::new(Semaphore::new(2));
    let waits = Arc::clone(&gate);
    let story = Story::new(move |asked| {
        let (waits, answer) = (Arc::clone(&waits), good(asked));
        Box::pin(async move {
            waits.acquire().await.expect("open").forget();
            answer.await
        })
    });
    let options = AnalysisOptions { concurrency: std::num::NonZeroU32::MIN, ..kept_in(&kept) };
    let run = story.project(&folder, &options);
    let cancel = async {
        while story.progress.lock().expect("whole").len() < 2 {
            tokio::task::yield_now().await;
        }
        story.cancelled.cancel();
    };
    let (error, ()) = tokio::join!(run, cancel);
    assert!(error.expect_err("cancelled").is_cancellation());
    assert_eq!(story.pool.engine().stats().active_connections, 0, "nothing is under way");

    let next = Story::new(good);
    let analysis = next.project(&folder, &options).await.expect("done");
    assert_eq!((analysis.cached, next.asked().len()), (2, 6));
}

#[tokio::test]
async fn a_budget_that_is_spent_ends_no_more_than_what_it_cannot_pay() {
    let (folder, kept) = (project(), Folder::new());
    // An answer comes to 0.002 USD; about 0.01 USD are set aside for a request.
    let dear = serde_json::json!({ "input_token_price": 0.02, "budget": { "daily_usd": 0.015 } });
    let story = Story::with(dear, good);
    let options = AnalysisOptions { concurrency: std::num::NonZeroU32::MIN, ..kept_in(&kept) };
    let analysis = story.project(&folder, &options).await.expect("a part");
    let asked = story.asked().len();
    assert!((1..8).contains(&asked), "{asked}");
    assert_eq!(analysis.files.len() + analysis.directories.len(), asked, "what was paid for is there");
    assert!(analysis.project.is_none() && analysis.failed.iter().any(|failed| failed.kind == UnitKind::Project));
    assert!(analysis.failed.iter().all(|failed| failed.message.contains("budget")), "{:?}", analysis.failed);
    // Another day.
    let next = Story::new(good).project(&folder, &options).await.expect("all of it");
    assert_eq!((next.failed.len(), next.project.is_some()), (0, true));
    assert!(next.cached >= 1);
}

#[tokio::test]
async fn a_pool_that_is_shut_down_ends_it() {
    let story = Story::new(good);
    story.pool.shutdown(std::time::Duration::ZERO).await;
    let error = story.project(&project(), &options()).await.expect_err("closed");
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
}

#[tokio::test]
async fn one_file_alone() {
    let folder = project();
    let story = Story::new(good);
    let path = folder.path().join("src/a.rs");
    let analysis = story.analyze(&path, Goal::File, &options()).await.expect("one");
    assert_eq!((analysis.files[0].path.as_str(), story.asked().len()), ("a.rs", 1));
    let rooted = AnalysisOptions { root: Some(folder.path().to_owned()), ..options() };
    let analysis = story.analyze(&path, Goal::File, &rooted).await.expect("one");
    assert_eq!(analysis.files[0].path, "src/a.rs");
}

#[tokio::test]
async fn secrets_do_not_leave() {
    let folder = Folder::new();
    let key = format!("sk-{}", "a1B2".repeat(10));
    folder.write("config.js", format!("const key = '{key}'\nconst password = 'hunter22'\n"));
    let story = Story::new(good);
    let analysis = story.project(&folder, &options()).await.expect("done");
    assert_eq!(analysis.masked, 2);
    for asked in story.asked() {
        assert!(!asked.user.contains(&key) && !asked.user.contains("hunter22"), "{}", asked.user);
    }
}
