//! llmpool answers a chat request by the best LLM provider that can answer it, whatever breaks upstream: failover,
//! retries within a budget, circuit breakers, rate limits and cost, in one library and without a server.
//!
//! ```no_run
//! use std::sync::Arc;
//! use llmpool::config::{Environment, Settings, Source};
//! use llmpool::pool::Pool;
//! use llmpool::types::{CallOptions, ChatRequest, Message, Role};
//!
//! # async fn answer() -> Result<(), llmpool::error::Error> {
//! let settings = Settings::new(Source::File("llmpool.json".into()));
//! let pool = Pool::open(settings, Environment::process(), Arc::default()).await?;
//! let request = ChatRequest::new(vec![Message::text(Role::User, "What is the capital of France?")]);
//! let response = pool.chat(&request, &CallOptions::default()).await?;
//! println!("{} says: {}", response.provider, response.reply.content);
//! # Ok(())
//! # }
//! ```
//!
//! The modules stand below in layer order, and a test keeps it: each may use those above it, never those below or
//! beside it. The leaves know nothing of each other; `config` composes their parameters, `engine` their behaviour.

// The sample of every key of a provider, in a test, is one long `json!`.
#![cfg_attr(test, recursion_limit = "256")]

// rank 0
pub mod time;
pub mod types;
// rank 1
pub mod error;
// rank 2
pub mod event;
// rank 3: the leaves
pub mod adapter;
pub mod cache;
pub mod cost;
pub mod metrics;
pub mod policy;
pub mod schema;
pub mod tokens;
pub mod transport;
// rank 4
pub mod config;
// rank 5
pub mod engine;
// rank 6
pub mod ensemble;
// rank 7
pub mod tasks;
// rank 8
pub mod pool;
// rank 9
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod llm_pool;
// rank 10
#[cfg(feature = "node")]
mod node;

pub use engine::{
    Analytics, Classified, Executed, Explanation, Fault, HttpStatusError, PoolHealth, PoolStats, ProviderHealth,
    ProviderStats, Turn,
};
pub use error::{Error, ErrorKind, Failure, FailureClass};
pub use llm_pool::{ExecuteError, LlmClient, LlmClientBuilder, LlmPool, LlmPoolBuilder, PoolMember};
pub use metrics::Window;
pub use policy::Behaviour;
pub use pool::PoolStream;
pub use types::{
    CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, Message, Role, StreamEvent, Usage,
};

#[cfg(test)]
mod layering {
    //! Reads the sources: a module may name only modules of a lower rank, and itself.

    use std::fs;
    use std::path::{Path, PathBuf};

    const RANKS: &[(&str, u32)] = &[
        ("time", 0),
        ("types", 0),
        ("error", 1),
        ("event", 2),
        ("adapter", 3),
        ("cache", 3),
        ("cost", 3),
        ("metrics", 3),
        ("policy", 3),
        ("schema", 3),
        ("tokens", 3),
        ("transport", 3),
        ("config", 4),
        ("engine", 5),
        ("ensemble", 6),
        ("tasks", 7),
        ("pool", 8),
        ("gateway", 9),
        ("llm_pool", 9),
        ("node", 10),
    ];

    fn rank(module: &str) -> u32 {
        RANKS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("module {module} has no rank: add it to RANKS and to the list above"))
            .1
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The modules of this crate that a source names by `crate::`, tests left out: they may look anywhere.
    fn named(source: &str) -> Vec<String> {
        let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        code.split("crate::")
            .skip(1)
            .flat_map(|rest| {
                let rest = rest.trim_start();
                let listed = rest.strip_prefix('{').and_then(|inner| inner.split('}').next());
                listed.map_or_else(|| vec![rest], |inner| inner.split(',').map(str::trim).collect())
            })
            .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
            .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_lowercase() || c == '_'))
            .collect()
    }

    #[test]
    fn no_module_names_one_of_its_own_rank_or_above() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        assert!(files.len() > 20, "the sources were found");
        for file in files {
            let relative = file.strip_prefix(&root).expect("below src");
            if relative == Path::new("lib.rs") || relative.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let module = relative.components().next().expect("a name").as_os_str().to_string_lossy();
            let module = module.trim_end_matches(".rs");
            for name in named(&fs::read_to_string(&file).expect("a readable source")) {
                assert!(
                    name == module || rank(&name) < rank(module) || (name == "types" && module == "time"),
                    "{} (rank {}) must not name {name} (rank {})",
                    relative.display(),
                    rank(module),
                    rank(&name),
                );
            }
        }
    }

    #[test]
    fn the_reader_of_sources_sees_every_way_to_name_a_module() {
        let source = "use crate::types::Usage;\nuse crate::{error, event::Event};\nfn f() { crate::policy::rank() }\n\
                      // crate::node in a comment\n#[cfg(test)]\nmod tests { use crate::engine::Engine; }";
        assert_eq!(named(source), ["types", "error", "event", "policy"]);
    }
}
