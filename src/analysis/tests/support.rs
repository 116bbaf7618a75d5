//! Folders to analyse, and a pool whose models describe what they are shown.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::analysis::{Analysis, AnalysisOptions, Goal, Notice, Progress, analyze};
use crate::config::{Document, Environment, Settings, Source};
use crate::engine::Clients;
use crate::error::Error;
use crate::event::Interest;
use crate::pool::Pool;
use crate::transport::fake::{self, FakeTransport};
use crate::transport::{HttpReply, HttpRequest, Transport};

pub type Reply = futures_util::future::BoxFuture<'static, Result<HttpReply, crate::error::TransportError>>;

/// A folder that is gone at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("llmpool-analysis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path.canonicalize().expect("its real name"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One request as the provider sees it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `file_analysis`, `directory_analysis`, `project_analysis`.
    pub shape: String,
    /// What is described: the first line.
    pub head: String,
    pub user: String,
}

impl Asked {
    pub fn of(request: &HttpRequest) -> Self {
        let body: Value = serde_json::from_slice(&request.body).expect("a body");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let user = text(&body["messages"][1]["content"]);
        Self {
            shape: text(&body["response_format"]["json_schema"]["name"]),
            head: user.lines().next().unwrap_or_default().to_owned(),
            user,
        }
    }

    /// `a.rs` of `File: a.rs, part 1 of 2, lines 1 to 9`.
    pub fn path(&self) -> String {
        let named = self.head.split_once(": ").map_or("the project", |(_, rest)| rest);
        named.split(", part ").next().unwrap_or_default().to_owned()
    }

    /// A good answer. It changes with whatever is shown.
    pub fn describe(&self) -> Value {
        let seen = digest(&SHA256, self.user.as_bytes());
        let seen: String = seen.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let summary = format!("{} as {seen}", self.head);
        let interface = json!({ "name": "run", "kind": "function", "description": "Runs." });
        match self.shape.as_str() {
            "file_analysis" => json!({
                "type": "source", "summary": summary,
                "externalDependencies": ["serde", format!("of-{}", self.path())], "publicInterfaces": [interface],
            }),
            "directory_analysis" => json!({
                "summary": summary, "keyComponents": [{ "name": "core", "description": "Does it." }],
                "publicInterfaces": [interface],
            }),
            "project_analysis" => json!({
                "overview": summary, "architecture": "One line.", "coreTechnologies": ["Rust"],
                "mainInterfaces": [interface], "risks": ["None."],
            }),
            other => panic!("no such shape: {other}"),
        }
    }
}

/// An answer that says this, and why it ended.
pub fn says(text: &str, finish: &str) -> Reply {
    let body = json!({
        "id": "r1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": finish }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 },
    });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

pub fn good(asked: &Asked) -> Reply {
    says(&asked.describe().to_string(), "stop")
}

/// A pool over a script, and what was asked of it.
pub struct Story {
    pub pool: Pool,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub progress: Mutex<Vec<Progress>>,
    pub cancelled: CancellationToken,
}

impl Story {
    pub fn new(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::with(json!({}), script)
    }

    /// One provider, with more said of it.
    pub fn with(more: Value, mut script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        let mut provider = json!({
            "name": "a", "type": "openai-compatible", "model": "m", "api_key": "key-of-a",
            "base_url": "https://a.test/v1", "input_token_price": 0.001, "output_token_price": 0.002,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            provider[key] = value.clone();
        }
        let config = json!({ "providers": [provider] });
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let upstream = FakeTransport::new(move |request| {
            let asked = Asked::of(request);
            heard.lock().expect("whole").push(asked.clone());
            script(&asked)
        });
        let settings = Settings::new(Source::Inline(config.clone()));
        let environment = Environment::from_map::<String, String>([]);
        let clients = Clients::new(move |_| Ok(Arc::new(upstream.clone()) as Arc<dyn Transport>));
        let interest = Arc::<Interest>::default();
        let pool = Pool::with_clients(Document::object(config), environment, settings, interest, clients);
        let (progress, cancelled) = (Mutex::default(), CancellationToken::new());
        Self { pool: pool.expect("a valid configuration"), asked, progress, cancelled }
    }

    pub async fn project(&self, folder: &Folder, options: &AnalysisOptions) -> Result<Analysis, Error> {
        self.analyze(folder.path(), Goal::Project, options).await
    }

    pub async fn analyze(&self, path: &Path, goal: Goal, options: &AnalysisOptions) -> Result<Analysis, Error> {
        let tell = |notice: Notice| {
            if let Notice::Progress(progress) = notice {
                self.progress.lock().expect("whole").push(progress);
            }
        };
        analyze(&self.pool, path, goal, options, &tell, &self.cancelled).await
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("whole"))
    }

    /// The same, by what was described, in order.
    pub fn paths(&self) -> Vec<String> {
        self.asked().iter().map(Asked::path).collect()
    }
}

/// Results of the same kind, by path.
pub fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

pub fn options() -> AnalysisOptions {
    AnalysisOptions::default()
}

pub fn kept_in(folder: &Folder) -> AnalysisOptions {
    AnalysisOptions { cache_dir: Some(folder.path().join("kept")), ..options() }
}
