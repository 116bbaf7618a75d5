use std::fs;
use std::path::PathBuf;

use fastrand::Rng;
use serde_json::Value;

use super::*;

/// Damaged copies of each recording, for each door.
const COPIES: u64 = 6;
/// What a fuzzer would try sooner or later.
const WORDS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\n\n",
    b"data: ",
    b"event: error\n",
    b"[DONE]",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"\xF0\x9F",
    b"null",
    b"{}",
    b"[]",
    b"[[[[[[[[",
    b"\"\\ud800\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\"error\":",
    b"\0",
    b"\"index\":99999999999,",
];

fn fixtures() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures"].iter().collect()
}

#[test]
fn the_saved_corpus_stays_found() {
    let corpus = fixtures().join("corpus");
    let mut known: Vec<&str> = TARGETS.iter().map(|target| target.corpus).collect();
    known.sort_unstable();
    known.dedup();
    let mut folders: Vec<String> = fs::read_dir(&corpus)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    folders.sort_unstable();
    assert_eq!(folders, known, "a folder for every door, and a door for every folder");
    for target in TARGETS {
        let files = fs::read_dir(corpus.join(target.corpus)).expect(target.corpus);
        let mut replayed = 0;
        for file in files {
            (target.run)(&fs::read(file.expect("an entry").path()).expect("a file"));
            replayed += 1;
        }
        assert!(replayed > 0, "{} has nothing saved", target.name);
    }
}

/// The recordings that a door could be shown, by kind.
fn recordings() -> Vec<(String, Vec<u8>)> {
    let wire = fixtures().join("wire");
    let index = fs::read_to_string(wire.join("index.json")).expect("the index");
    let index: Vec<Value> = serde_json::from_str(&index).expect("a list");
    let kept = |entry: &Value| {
        let file = entry["file"].as_str().expect("file");
        (entry["kind"].as_str().expect("kind").to_owned(), fs::read(wire.join(file)).expect(file))
    };
    index.iter().map(kept).collect()
}

fn suits(target: &Target, kind: &str) -> bool {
    match kind {
        "sse" => target.name == "sse" || target.name.starts_with("stream_"),
        "ndjson" => matches!(target.name, "ndjson" | "stream_ollama"),
        _ => target.name == "error" || target.name == "models" || target.name.starts_with("reply_"),
    }
}

#[test]
fn damaged_recordings_keep_every_law() {
    let mut shown = 0;
    for (at, (kind, body)) in recordings().iter().enumerate() {
        for copy in 0..COPIES {
            let mut rng = Rng::with_seed(at as u64 * COPIES + copy);
            let damaged = damaged(body, &mut rng);
            for target in TARGETS.iter().filter(|target| suits(target, kind)) {
                (target.run)(&damaged);
                shown += 1;
            }
        }
    }
    assert!(shown > 5_000, "{shown} bodies shown");
}

/// The bytes with some flipped, cut out, said twice, or with something put between.
fn damaged(body: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = body.to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(0..40)).min(bytes.len());
        match rng.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, WORDS[rng.usize(0..WORDS.len())].iter().copied())),
        }
    }
    bytes
}
