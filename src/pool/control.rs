//! What is in force, and every way to put something else there.
//!
//! All of them make a proposal (a document, changes over it, an environment), check it whole, build a roster of it and
//! swap that in; a proposal that is not sound changes nothing. One change is made at a time, and the source is read
//! beside that, so that a slow server holds up nothing but the next reading of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::stats_file::{Saved, StatsFile};
use crate::config::{Config, Document, Environment, Feed, Overlay, Settings, Source};
use crate::engine::{Changes, Clients, Engine, ProviderListing, Roster};
use crate::error::{Error, ErrorKind, Problem};
use crate::event::trace;
use crate::metrics::ConfigFigures;
use crate::time;
use crate::types::ProviderName;

/// What a change came to.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// All providers, in the order written.
    pub providers: Vec<ProviderListing>,
    pub added: Vec<ProviderName>,
    pub removed: Vec<ProviderName>,
    /// Some parameter of theirs is another one.
    pub changed: Vec<ProviderName>,
    /// What is allowed but probably not meant, and was not said before.
    pub warnings: Vec<String>,
    /// As it was written, every secret masked; `None` when only the program changed something.
    pub config: Option<Value>,
}

/// Which configuration is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edition {
    /// 1 at the start; one more with every change.
    pub version: u64,
    /// SHA-256 of its text.
    pub checksum: String,
}

pub(super) struct Control {
    pub engine: Arc<Engine>,
    pub settings: Settings,
    pub clients: Clients,
    /// One reading at a time.
    feed: tokio::sync::Mutex<Feed>,
    in_force: Mutex<InForce>,
    /// How many readings have begun.
    turns: AtomicU64,
    /// What there was to say about how the configuration was come by.
    opening: Vec<String>,
    from_cache: bool,
    reloads: Mutex<Reloads>,
    /// `None`: there is none, or the pool was shut down and let go of it.
    stats_file: Arc<Mutex<Option<StatsFile>>>,
}

/// Readings of the configuration after the first.
struct Reloads {
    /// They put another one in force.
    changed: u64,
    failed: u64,
    last_success_unix_ms: u64,
}

struct InForce {
    document: Arc<Document>,
    overlay: Overlay,
    environment: Environment,
    config: Config,
    /// Checksum of what the source gave last; the document may be another one, which a program handed over.
    source: String,
    /// Of the reading that gave the document: one that began before it never goes over it.
    turn: u64,
    version: u64,
}

struct Proposal {
    document: Arc<Document>,
    overlay: Overlay,
    environment: Environment,
    source: String,
    turn: u64,
}

/// How a document was come by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// A program handed it over.
    Program,
    /// A program asked for the source to be read.
    SourceOnRequest,
    /// The source was read because it was time to.
    Source,
}

impl Control {
    /// Puts the first configuration in force. May read certificate files, so it belongs on a thread that may block.
    pub fn start(
        document: Document,
        environment: Environment,
        settings: Settings,
        clients: Clients,
        make: impl FnOnce(Roster) -> Engine,
    ) -> Result<Self, Error> {
        let config = Config::of(&document, &environment, &settings)?;
        let roster = Roster::build(config.clone(), &settings, &clients, None)?;
        trace::warnings(&config.warnings);
        let in_force = InForce {
            source: document.checksum().to_owned(),
            document: Arc::new(document),
            overlay: Overlay::default(),
            environment,
            config,
            turn: 0,
            version: 1,
        };
        Ok(Self {
            engine: Arc::new(make(roster)),
            feed: tokio::sync::Mutex::new(Feed::new(&settings.source)),
            settings,
            clients,
            in_force: Mutex::new(in_force),
            turns: AtomicU64::new(0),
            opening: Vec::new(),
            from_cache: false,
            reloads: Mutex::new(Reloads { changed: 0, failed: 0, last_success_unix_ms: time::unix_ms() }),
            stats_file: Arc::default(),
        })
    }

    /// Takes up what the statistics file holds, and keeps that file. Blocks.
    pub fn take_up_stats(&mut self) -> Result<(), Error> {
        let Some(path) = &self.settings.stats_file else { return Ok(()) };
        let (file, saved, note) = StatsFile::open(path)?;
        saved.restore_to(&self.engine);
        self.opening.extend(note);
        self.stats_file = Arc::new(Mutex::new(Some(file)));
        Ok(())
    }

    /// Writes the statistics file.
    pub async fn save_stats(&self) -> Result<(), Error> {
        if self.settings.stats_file.is_none() {
            return Err(refused("statsFile", "is not set; nothing can be saved"));
        }
        self.save(false).await?.ok_or_else(Error::closed)
    }

    /// Writes it for the last time and lets the next pool have it.
    pub async fn close_stats(&self) -> Result<(), Error> {
        self.save(true).await.map(drop)
    }

    /// `None`: there is no file, or none any more.
    async fn save(&self, last: bool) -> Result<Option<()>, Error> {
        let (engine, file) = (Arc::clone(&self.engine), Arc::clone(&self.stats_file));
        let saved = tokio::task::spawn_blocking(move || {
            // Held from the reading of the numbers to the end of the writing: of two savings, the later one must stay. And
            // whoever saves the last lets go of the file here, however many savings are still to find it closed.
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let saved = file.as_mut().map(|file| file.save(&Saved::of(&engine))).transpose();
            if last {
                *file = None;
            }
            saved
        });
        saved.await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?
    }

    /// The source as it was read for the start, so that it is asked for news only from here on.
    pub fn opened(&mut self, first: First) {
        let First { feed, notes, from_cache } = first;
        (self.feed, self.from_cache) = (tokio::sync::Mutex::new(feed), from_cache);
        self.opening.extend(notes);
    }

    pub fn edition(&self) -> Edition {
        let in_force = self.in_force();
        Edition { version: in_force.version, checksum: in_force.document.checksum().to_owned() }
    }

    /// Further files that were read for the configuration in force.
    pub fn files(&self) -> Vec<PathBuf> {
        self.in_force().config.files.clone()
    }

    /// Was the source out of reach at the start?
    pub fn came_from_cache(&self) -> bool {
        self.from_cache
    }

    /// What is allowed in the configuration in force but probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        self.opening.iter().chain(&self.in_force().config.warnings).cloned().collect()
    }

    /// Puts an object in force that a program handed over.
    pub async fn put(
        self: &Arc<Self>,
        config: Value,
        environment: Option<Environment>,
    ) -> Result<Option<Change>, Error> {
        let outcome = self.take(self.turn(), Arc::new(Document::object(config)), environment, From::Program).await;
        self.count(outcome)
    }

    /// Reads the source and puts what is there in force. `environment`: a program asks, and says what it is now.
    pub async fn refresh(self: &Arc<Self>, environment: Option<Environment>) -> Result<Option<Change>, Error> {
        let outcome = self.read_source(self.turn(), environment).await;
        self.count(outcome)
    }

    /// To be taken before anything is waited for: it says who asked first.
    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn read_source(
        self: &Arc<Self>,
        turn: u64,
        environment: Option<Environment>,
    ) -> Result<Option<Change>, Error> {
        let mut feed = self.feed.lock().await;
        let asked = if environment.is_some() { From::SourceOnRequest } else { From::Source };
        if asked == From::SourceOnRequest {
            feed.forget();
        }
        let known = environment.clone().unwrap_or_else(|| self.in_force().environment.clone());
        let Some(document) = feed.read(&known).await? else { return Ok(None) };
        let document = Arc::new(document);
        let change = self.take(turn, Arc::clone(&document), environment, asked).await?;
        match (feed.keep(&document).await, change) {
            (Ok(()), change) => Ok(change),
            (Err(error), Some(mut change)) => {
                change.warnings.push(error.to_string());
                Ok(Some(change))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Books what a reading came to.
    fn count(&self, outcome: Result<Option<Change>, Error>) -> Result<Option<Change>, Error> {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(change) => {
                reloads.changed += u64::from(change.is_some());
                reloads.last_success_unix_ms = time::unix_ms();
            }
            Err(_) => reloads.failed += 1,
        }
        outcome
    }

    /// OpenMetrics 1.0 text.
    pub fn metrics(&self) -> String {
        let Edition { version, checksum: hash } = self.edition();
        let Reloads { changed: reloads, failed: failed_reloads, last_success_unix_ms } =
            *self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.metrics(ConfigFigures { version, hash, reloads, failed_reloads, last_success_unix_ms })
    }

    async fn take(
        self: &Arc<Self>,
        turn: u64,
        document: Arc<Document>,
        environment: Option<Environment>,
        from: From,
    ) -> Result<Option<Change>, Error> {
        let control = Arc::clone(self);
        // Secrets and certificates are read from files, which takes as long as it takes.
        let taken = tokio::task::spawn_blocking(move || {
            control.change(|in_force| {
                // The source says what it said before: what a program put in its place stays, with its secrets read anew.
                let stays = from == From::Source && in_force.source == document.checksum();
                let source =
                    if from == From::Program { in_force.source.clone() } else { document.checksum().to_owned() };
                Proposal {
                    document: if stays { Arc::clone(&in_force.document) } else { document },
                    overlay: in_force.overlay.clone(),
                    environment: environment.unwrap_or_else(|| in_force.environment.clone()),
                    source,
                    // Nothing is put in force, so there is nothing that could overtake.
                    turn: if stays { in_force.turn } else { turn },
                }
            })
        });
        taken.await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?
    }

    /// Changes something over the configuration.
    pub fn steer(&self, change: impl FnOnce(&mut Overlay)) -> Result<Option<Change>, Error> {
        self.change(|in_force| {
            let mut overlay = in_force.overlay.clone();
            change(&mut overlay);
            Proposal {
                document: Arc::clone(&in_force.document),
                overlay,
                environment: in_force.environment.clone(),
                source: in_force.source.clone(),
                turn: in_force.turn,
            }
        })
    }

    /// Checks a proposal, and puts it in force when it is sound. `None`: it is what is in force already, or a later one
    /// is.
    fn change(&self, propose: impl FnOnce(&InForce) -> Proposal) -> Result<Option<Change>, Error> {
        let mut in_force = self.in_force();
        let Proposal { document, overlay, environment, source, turn } = propose(&in_force);
        let config = Config::overlaid(&document, &overlay, &environment, &self.settings)?;
        if turn < in_force.turn {
            // As if it had come in its turn: what the source said is known, and the later one went over it.
            in_force.source = source;
            return Ok(None);
        }
        let same_text = document.checksum() == in_force.document.checksum();
        let same = same_text && config == in_force.config;
        let change = if same {
            None
        } else {
            let roster = Roster::build(config.clone(), &self.settings, &self.clients, Some(&self.engine.roster()))?;
            let Changes { added, removed, changed } = self.engine.swap(roster);
            self.clients.forget_unused();
            trace::reloaded(in_force.version + 1, added.len(), removed.len(), changed.len());
            let new = |warning: &&String| !in_force.config.warnings.contains(warning);
            trace::warnings(config.warnings.iter().filter(new));
            Some(Change {
                providers: self.engine.listing(),
                added,
                removed,
                changed,
                warnings: config.warnings.iter().filter(new).cloned().collect(),
                config: (!same_text).then(|| document.shown(&overlay)),
            })
        };
        let version = in_force.version + u64::from(!same);
        *in_force = InForce { document, overlay, environment, config, source, turn, version };
        Ok(change)
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        // Nothing in it is half-done at any point that can panic.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the first configuration was come by.
pub(super) struct First {
    feed: Feed,
    notes: Vec<String>,
    from_cache: bool,
}

/// Reads the configuration for a start. Where the source cannot be read, what is kept of it stands in.
pub(super) async fn first(settings: &Settings, environment: &Environment) -> Result<(First, Document), Error> {
    let mut feed = Feed::new(&settings.source);
    let read = match feed.read(environment).await {
        Ok(Some(document)) => Config::of(&document, environment, settings).map(|_| document),
        Ok(None) => Err(Error::new(ErrorKind::Internal, "nothing was read before")),
        Err(error) => Err(error),
    };
    match read {
        Ok(document) => {
            let notes = feed.keep(&document).await.err().map(|error| error.to_string());
            Ok((First { feed, notes: notes.into_iter().collect(), from_cache: false }, document))
        }
        Err(error) => match feed.cached().await {
            Some(document) => {
                let note = format!("the configuration was taken from configCache: {error}");
                Ok((First { feed, notes: vec![note], from_cache: true }, document))
            }
            None => Err(error),
        },
    }
}

/// The name in a provider that a program hands over.
pub(super) fn name_of(provider: &Value) -> Result<String, Error> {
    match provider.get("name").and_then(Value::as_str) {
        Some(name) if !name.trim().is_empty() => Ok(name.to_owned()),
        _ => Err(refused("name", "expected a string that no other provider has")),
    }
}

pub(super) fn refused(path: &str, message: impl Into<String>) -> Error {
    Error::configuration(vec![Problem { path: path.to_owned(), message: message.into() }])
}

/// Can anything about this source change by itself?
pub(super) fn may_change(source: &Source) -> bool {
    match source {
        Source::File(_) | Source::Url(_) => true,
        // Secrets and certificates in files.
        Source::Inline(value) => value.to_string().contains("${file:") || value.pointer("/server/tls").is_some(),
    }
}
