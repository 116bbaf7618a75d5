//! Streams that are open: read by whoever asked for them, and ended by a shutdown whether or not anybody reads.
//!
//! Between two readings a stream is parked where the pool finds it, so that a shutdown need not wait for a consumer who
//! never comes back: it closes the socket and settles what the stream held. While it is read it is with its reader, whom
//! the shutdown wakes; should the reader bring it back in that moment, it is ended as it is parked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::engine::ChatStream;
use crate::error::Error;
use crate::event::Event;
use crate::time;
use crate::types::{ChatResponse, ProviderName, StreamEvent};

/// A stream that ends with its pool.
///
/// A shutdown ends it once the drain time is over, also when nobody reads it: the socket closes, and the next reading
/// says that the pool was shut down.
pub struct PoolStream {
    place: Arc<Place>,
    open: Arc<OpenStreams>,
    number: u64,
    provider: ProviderName,
    model: String,
    warnings: Vec<String>,
    is_replay: bool,
}

/// The streams of a pool that somebody holds.
pub(super) struct OpenStreams {
    places: Mutex<Places>,
    /// Wakes those who read.
    ending: CancellationToken,
}

#[derive(Default)]
struct Places {
    next: u64,
    by_number: HashMap<u64, Weak<Place>>,
}

/// Where a stream is while nobody reads it.
struct Place(Mutex<Parked>);

struct Parked {
    /// `None`: it is being read.
    stream: Option<Box<ChatStream>>,
    /// Let go of at the end: a shutdown waits for streams, not for those who keep one that is over. After the stream,
    /// so that a shutdown that waits finds everything settled.
    call: Option<TaskTrackerToken>,
    /// The pool has ended: no stream stays open here.
    closed: bool,
    /// What the reader is still to be told.
    error: Option<Error>,
}

/// A stream while it is read; parked again when it is dropped, at whatever await the reading was left.
struct Reading<'a> {
    place: &'a Place,
    /// Gone only in its drop.
    stream: Option<Box<ChatStream>>,
    is_over: bool,
}

// === impl OpenStreams ===

impl OpenStreams {
    pub fn new(ending: CancellationToken) -> Self {
        Self { places: Mutex::default(), ending }
    }

    /// Hands a stream to its reader. `call` is let go of when it is over.
    pub fn hold(self: &Arc<Self>, stream: ChatStream, call: TaskTrackerToken) -> PoolStream {
        let (provider, model, is_replay) = (
            stream.provider().clone(),
            stream.model().to_owned(),
            stream.response().is_some_and(|response| response.cached),
        );
        let warnings = stream.warnings().to_vec();
        let parked = Parked { stream: Some(Box::new(stream)), call: Some(call), closed: false, error: None };
        let place = Arc::new(Place(Mutex::new(parked)));
        let mut places = lock(&self.places);
        let number = places.next;
        places.next += 1;
        places.by_number.insert(number, Arc::downgrade(&place));
        drop(places);
        if self.ending.is_cancelled() {
            place.end(); // the shutdown has passed by already
        }
        PoolStream { place, open: Arc::clone(self), number, provider, model, warnings, is_replay }
    }

    /// Ends those that nobody reads at the moment; those who read are woken.
    pub fn end(&self) {
        self.ending.cancel();
        let places: Vec<_> = lock(&self.places).by_number.values().filter_map(Weak::upgrade).collect();
        places.iter().for_each(|place| place.end());
    }
}

// === impl Place ===

impl Place {
    fn parked(&self) -> MutexGuard<'_, Parked> {
        lock(&self.0)
    }

    fn end(&self) {
        let mut parked = self.parked();
        parked.closed = true;
        parked.end();
    }

    /// Takes the stream to read it, or what is left to say. Nothing of both: it is being read, or all was said.
    fn read(&self) -> Result<Reading<'_>, Option<Error>> {
        let mut parked = self.parked();
        if let Some(error) = parked.error.take() {
            return Err(Some(error));
        }
        let stream = parked.stream.take();
        if stream.is_some() { Ok(Reading { place: self, stream, is_over: false }) } else { Err(None) }
    }
}

impl Parked {
    /// Ends what is still open; a stream that is over has let go of its call.
    fn end(&mut self) {
        if let (Some(stream), Some(_)) = (&mut self.stream, &self.call) {
            self.error = Some(stream.end(Error::closed()));
            self.call = None;
        }
    }
}

// === impl Reading ===

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut parked = self.place.parked();
        parked.stream = self.stream.take();
        if self.is_over {
            parked.call = None;
        } else if parked.closed {
            parked.end();
        }
    }
}

// === impl PoolStream ===

impl PoolStream {
    /// The next event; `None` at the end of a complete stream. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<StreamEvent, Error>> {
        let mut reading = match self.place.read() {
            Ok(reading) => reading,
            Err(error) => return error.map(Err),
        };
        let Some(stream) = &mut reading.stream else { return None };
        let event = tokio::select! {
            biased;
            event = stream.next() => event,
            () = self.open.ending.cancelled() => Some(Err(stream.end(Error::closed()))),
        };
        reading.is_over = !matches!(event, Some(Ok(_)));
        event
    }

    /// Waits until the consumer has room. An error: the stream is over, because the pool was shut down or the call's
    /// deadline has come.
    pub async fn until_room(&mut self, room: impl Future<Output = ()>) -> Option<Error> {
        let deadline = self.place.parked().stream.as_ref()?.deadline();
        let timely = tokio::select! {
            biased;
            waited = time::until(Some(deadline), room) => waited.is_ok(),
            () = self.open.ending.cancelled() => {
                self.place.end();
                return self.place.parked().error.take();
            }
        };
        let mut parked = self.place.parked();
        if timely {
            return parked.error.take();
        }
        parked.call = None;
        let ended = parked.error.take();
        ended.or_else(|| parked.stream.as_mut().map(|stream| stream.out_of_time()))
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        self.place.parked().stream.as_mut().map(|stream| stream.take_events()).unwrap_or_default()
    }

    /// Who answers, and the model that was asked for.
    pub fn source(&self) -> (&str, &str) {
        (self.provider.as_str(), &self.model)
    }

    /// What of the request was not sent as it was asked, as far as it was known when the stream opened.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Its answer was kept.
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// Why the whole answer is refused although the stream ended well: it does not fit the caller's schema.
    pub fn take_violation(&mut self) -> Option<Error> {
        self.place.parked().stream.as_mut()?.take_violation()
    }

    /// The whole answer, once the stream has ended well.
    pub fn into_response(self) -> Option<ChatResponse> {
        self.place.parked().stream.take()?.into_response()
    }
}

impl Drop for PoolStream {
    fn drop(&mut self) {
        lock(&self.open.places).by_number.remove(&self.number);
    }
}

/// Nothing here is half-done at any point that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
