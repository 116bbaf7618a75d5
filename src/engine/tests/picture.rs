//! `docs/behaviours.svg`: how each behaviour spreads 1,000 calls while one provider is slow and one fails. The calls are
//! made of a pool, over scripted upstreams and a paused clock, so the picture is what the code does, and always the same.
//! `UPDATE_DOCS=1 cargo test picture` draws it; the same test fails when it is stale.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::support::{Answer, Story, after, answer, fails, host, provider};
use crate::time;
use crate::types::Behaviour;

struct Member {
    name: &'static str,
    priority: u32,
    weight: u32,
    /// How long its answer takes; `None`: it fails.
    millis: Option<u64>,
    colour: &'static str,
    /// Of what is written on that colour.
    ink: &'static str,
}

/// How long a failure takes.
const FAILS_AFTER: u64 = 100;
const DARK: &str = "#1f2328";
const LIGHT: &str = "#ffffff";
/// The colours are told apart by every eye (after Okabe and Ito).
const MEMBERS: [Member; 4] = [
    Member { name: "failing", priority: 1, weight: 1, millis: None, colour: "#b5432a", ink: LIGHT },
    Member { name: "slow", priority: 1, weight: 2, millis: Some(2_000), colour: "#e69f00", ink: DARK },
    Member { name: "fast", priority: 1, weight: 3, millis: Some(200), colour: "#0072b2", ink: LIGHT },
    Member { name: "spare", priority: 2, weight: 1, millis: Some(300), colour: "#2f9e78", ink: DARK },
];
const FAILED: &str = MEMBERS[0].colour;
const CALLS: usize = 1_000;
/// Who calls, each one call after another.
const CALLERS: usize = 8;

impl Member {
    fn words(&self) -> String {
        let Self { priority, weight, millis, .. } = self;
        let seconds = |millis: u64| millis as f64 / 1e3;
        let answers = match millis {
            Some(millis) => format!("answers after {} s", seconds(*millis)),
            None => format!("fails after {} s", seconds(FAILS_AFTER)),
        };
        format!("priority {priority}, weight {weight}, {answers}")
    }
}

/// What the calls of one behaviour came to.
struct Spread {
    behaviour: &'static str,
    /// Answers, by member.
    answers: [usize; MEMBERS.len()],
    /// Attempts that failed before a call was answered.
    failed: usize,
    mean: Duration,
}

async fn spread(behaviour: Behaviour) -> Spread {
    let providers: Vec<_> = MEMBERS
        .iter()
        .map(|Member { name, priority, weight, .. }| {
            let mut provider = provider(name, *priority);
            provider["weight"] = json!(weight);
            provider
        })
        .collect();
    let config = json!({ "providers": providers, "routing": { "behaviour": behaviour.as_str(), "seed": 1 } });
    let story = Story::with_config(config, |request| {
        let Member { name, millis, .. } = MEMBERS[at(host(request))];
        Box::pin(async move {
            after(Duration::from_millis(millis.unwrap_or(FAILS_AFTER))).await;
            let outcome: Answer = if millis.is_some() { answer(name) } else { fails(503) };
            outcome.await
        })
    });
    let began = time::now().mono;
    let callers = (0..CALLERS).map(|_| async {
        let mut answered = Vec::new();
        for _ in 0..CALLS / CALLERS {
            answered.push(story.ask().await.expect("somebody answers"));
        }
        answered
    });
    let answered: Vec<_> = join_all(callers).await.into_iter().flatten().collect();
    let mut answers = [0; MEMBERS.len()];
    answered.iter().for_each(|response| answers[at(response.provider.as_str())] += 1);
    let waited: Duration = answered.iter().map(|response| response.latency).sum();
    assert!(began.elapsed() >= waited / CALLERS as u32, "the clock is the story's");
    Spread { behaviour: behaviour.as_str(), answers, failed: story.asked("failing"), mean: waited / CALLS as u32 }
}

fn at(name: &str) -> usize {
    MEMBERS.iter().position(|member| member.name == name).expect("a member")
}

// === drawing ===

const WIDTH: usize = 860;
const LEFT: usize = 130;
const BAR: usize = 500;
const TOP: usize = 128;
const ROW: usize = 46;
const THICK: usize = 28;
/// A segment narrower than this has no room for its number.
const NARROW: usize = 30;

fn draw(spreads: &[Spread]) -> String {
    let height = TOP + ROW * spreads.len() + 30;
    let mut svg = String::new();
    // A card of its own, so that it reads the same on a light page and on a dark one.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="t d" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="14" fill="#1f2328">
<title id="t">How each behaviour spreads 1,000 calls</title>
<desc id="d">{}</desc>
<rect x="0.5" y="0.5" width="{}" height="{}" rx="8" fill="#ffffff" stroke="#d0d7de"/>
<text x="24" y="34" font-size="17" font-weight="600">1,000 calls by 8 callers: who answers them</text>
"##,
        words(spreads),
        WIDTH - 1,
        height - 1,
    );
    for (place, member) in MEMBERS.iter().enumerate() {
        let Member { name, colour, .. } = member;
        let said = member.words();
        let (x, y) = (24 + (place % 2) * 400, 60 + (place / 2) * 22);
        let _ = writeln!(
            svg,
            r##"<rect x="{x}" y="{}" width="13" height="13" rx="2" fill="{colour}"/><text x="{}" y="{y}"><tspan font-weight="600">{name}</tspan> <tspan fill="#59636e">{said}</tspan></text>"##,
            y - 11,
            x + 20,
        );
    }
    let (failed_at, mean_at) = (LEFT + BAR + 90, WIDTH - 24);
    for (x, title) in [(failed_at, "failed attempts"), (mean_at, "mean latency")] {
        let _ = writeln!(
            svg,
            r##"<text x="{x}" y="{}" text-anchor="end" font-size="12" fill="#59636e">{title}</text>"##,
            TOP - 10
        );
    }
    for (row, spread) in spreads.iter().enumerate() {
        let y = TOP + row * ROW;
        let middle = y + THICK / 2 + 5;
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{middle}" text-anchor="end" font-weight="600">{}</text>"#,
            LEFT - 14,
            spread.behaviour
        );
        let mut before = 0;
        for (answers, Member { colour, ink, .. }) in spread.answers.iter().zip(&MEMBERS) {
            let (x, end) = (LEFT + before * BAR / CALLS, LEFT + (before + answers) * BAR / CALLS);
            before += answers;
            if end > x {
                let _ =
                    writeln!(svg, r#"<rect x="{x}" y="{y}" width="{}" height="{THICK}" fill="{colour}"/>"#, end - x);
            }
            if end - x >= NARROW {
                let _ = writeln!(
                    svg,
                    r##"<text x="{}" y="{middle}" text-anchor="middle" fill="{ink}" font-weight="600">{answers}</text>"##,
                    (x + end) / 2
                );
            }
        }
        let _ = writeln!(
            svg,
            r#"<text x="{failed_at}" y="{middle}" text-anchor="end" fill="{}">{}</text>"#,
            if spread.failed > 0 { FAILED } else { DARK },
            spread.failed
        );
        let _ = writeln!(
            svg,
            r#"<text x="{mean_at}" y="{middle}" text-anchor="end">{} ms</text>"#,
            spread.mean.as_millis()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The same for whoever does not see it.
fn words(spreads: &[Spread]) -> String {
    let of = |spread: &Spread| {
        let counts = MEMBERS.iter().zip(&spread.answers).map(|(member, answers)| format!("{} {answers}", member.name));
        let counts: Vec<_> = counts.collect();
        format!(
            "{}: {}; {} failed attempts, {} ms",
            spread.behaviour,
            counts.join(", "),
            spread.failed,
            spread.mean.as_millis()
        )
    };
    spreads.iter().map(of).collect::<Vec<_>>().join(". ")
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to draw")]
async fn picture_of_the_behaviours_is_what_the_pool_does() {
    let mut spreads = Vec::new();
    for behaviour in Behaviour::ALL {
        spreads.push(spread(behaviour).await);
    }
    let fresh = draw(&spreads);
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "behaviours.svg"].iter().collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/behaviours.svg");
    }
    let drawn = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(drawn == fresh, "docs/behaviours.svg is stale; UPDATE_DOCS=1 cargo test picture draws it");
}
