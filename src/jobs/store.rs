//! Where jobs wait.
//!
//! [`JobStore`] is the seam behind which a queue may outlive its process or be shared by several. It keeps a job from
//! `insert` until `settle` or `withdraw`: what was taken and never settled was interrupted, and a store that outlives a
//! crash gives it out again. What only this process knows of a job (who waits for it, how to cancel it) is not in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use super::job::{JobSpec, Priority};
use super::order::Turns;
use crate::error::Error;
use crate::time::Instant;
use crate::types::FieldError;

/// A job in a store.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredJob {
    pub id: Arc<str>,
    /// Grows from job to job: among equals the lower goes first.
    pub number: u64,
    /// Its `id` and the processor's defaults filled in.
    pub spec: JobSpec,
}

/// What a store has for a worker.
#[derive(Debug)]
pub enum Taken {
    /// To be done now. The store keeps it until it is settled.
    Job(Arc<StoredJob>),
    /// Nothing may begin before that.
    NotBefore(Instant),
    Nothing,
}

/// Where the jobs of a processor wait. Only `insert` may refuse: there somebody stands and hears of it. All else waits until
/// the store can do it.
pub trait JobStore: Send + Sync {
    /// Keeps a job.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidRequest`] for a job of an id that is there already; whatever else keeps it from being
    /// kept.
    fn insert(&self, job: Arc<StoredJob>) -> BoxFuture<'_, Result<(), Error>>;

    /// Gives out the next job by priority and age.
    fn take(&self, now: Instant) -> BoxFuture<'_, Taken>;

    /// A job that was taken goes back to its place and is not given out before `until`. One that is not there any more is
    /// none of its business.
    fn put_off<'a>(&'a self, id: &'a str, until: Instant) -> BoxFuture<'a, ()>;

    /// A job that was taken is over.
    fn settle<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()>;

    /// Forgets a job, wherever it stands.
    fn withdraw<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()>;
}

/// Jobs in memory: what is not done when the process ends is lost.
#[derive(Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By priority, then by number.
    lines: [BTreeMap<u64, Arc<StoredJob>>; Priority::ALL.len()],
    later: BTreeMap<(Instant, u64), Arc<StoredJob>>,
    places: HashMap<Arc<str>, Place>,
    turns: Turns,
}

enum Place {
    Line(Priority, u64),
    Later(Instant, u64),
    Taken(Arc<StoredJob>),
}

// === impl MemoryStore ===

impl MemoryStore {
    fn held(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobStore for MemoryStore {
    fn insert(&self, job: Arc<StoredJob>) -> BoxFuture<'_, Result<(), Error>> {
        ready(self.held().insert(job).map_err(Error::from)).boxed()
    }

    fn take(&self, now: Instant) -> BoxFuture<'_, Taken> {
        ready(self.held().take(now)).boxed()
    }

    fn put_off<'a>(&'a self, id: &'a str, until: Instant) -> BoxFuture<'a, ()> {
        self.held().put_off(id, until);
        ready(()).boxed()
    }

    fn settle<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()> {
        self.withdraw(id)
    }

    fn withdraw<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()> {
        self.held().remove(id);
        ready(()).boxed()
    }
}

impl Kept {
    fn insert(&mut self, job: Arc<StoredJob>) -> Result<(), FieldError> {
        if self.places.contains_key(&job.id) {
            return Err(taken_id(&job.id));
        }
        self.line_up(job);
        Ok(())
    }

    fn line_up(&mut self, job: Arc<StoredJob>) {
        let priority = job.spec.priority;
        self.places.insert(Arc::clone(&job.id), Place::Line(priority, job.number));
        self.lines[priority as usize].insert(job.number, job);
    }

    fn take(&mut self, now: Instant) -> Taken {
        // Whose rest is over stands in its line again, at the place of its age.
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let job = entry.remove();
            self.line_up(job);
        }
        let lines = &mut self.lines;
        let next = self.turns.next(|priority| !lines[priority as usize].is_empty());
        match next.and_then(|priority| lines[priority as usize].pop_first()) {
            Some((_, job)) => {
                self.turns.pass();
                self.places.insert(Arc::clone(&job.id), Place::Taken(Arc::clone(&job)));
                Taken::Job(job)
            }
            None => self.later.first_key_value().map_or(Taken::Nothing, |((until, _), _)| Taken::NotBefore(*until)),
        }
    }

    fn put_off(&mut self, id: &str, until: Instant) {
        if let Some(place) = self.places.get_mut(id)
            && let Place::Taken(job) = place
        {
            let job = Arc::clone(job);
            *place = Place::Later(until, job.number);
            self.later.insert((until, job.number), job);
        }
    }

    fn remove(&mut self, id: &str) {
        match self.places.remove(id) {
            Some(Place::Line(priority, number)) => drop(self.lines[priority as usize].remove(&number)),
            Some(Place::Later(until, number)) => drop(self.later.remove(&(until, number))),
            Some(Place::Taken(_)) | None => {}
        }
    }
}

pub(super) fn taken_id(id: &str) -> FieldError {
    let message = format!("{id:?} is the id of a job that is not over yet; each job needs one of its own");
    FieldError { field: "id".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn job(number: u64, priority: Priority) -> Arc<StoredJob> {
        let spec = JobSpec::prompt("x").priority(priority);
        Arc::new(StoredJob { id: format!("job-{number}").into(), number, spec })
    }

    fn next(kept: &mut Kept, now: Instant) -> Option<u64> {
        match kept.take(now) {
            Taken::Job(job) => Some(job.number),
            Taken::NotBefore(_) | Taken::Nothing => None,
        }
    }

    #[test]
    fn a_job_that_was_put_off_comes_back_at_the_place_of_its_age() {
        let now = crate::time::now().mono;
        let later = now + Duration::from_secs(5);
        let mut kept = Kept::default();
        for number in 0..3 {
            kept.insert(job(number, Priority::Normal)).expect("an id of its own");
        }
        assert_eq!(next(&mut kept, now), Some(0));
        kept.put_off("job-0", later);
        assert_eq!(next(&mut kept, now), Some(1));
        assert_eq!(next(&mut kept, later), Some(0), "it is older than 2");
        assert_eq!(next(&mut kept, later), Some(2));
    }

    #[test]
    fn a_rest_that_is_not_over_is_waited_for() {
        let now = crate::time::now().mono;
        let later = now + Duration::from_secs(5);
        let mut kept = Kept::default();
        kept.insert(job(0, Priority::Low)).expect("an id of its own");
        next(&mut kept, now);
        kept.put_off("job-0", later);
        assert!(matches!(kept.take(now), Taken::NotBefore(at) if at == later));
        kept.remove("job-0");
        assert!(matches!(kept.take(later), Taken::Nothing));
        kept.put_off("job-0", later);
        assert!(matches!(kept.take(later), Taken::Nothing), "who was withdrawn does not come back");
    }

    #[test]
    fn an_id_is_free_again_when_its_job_is_over() {
        let mut kept = Kept::default();
        kept.insert(job(0, Priority::Low)).expect("an id of its own");
        assert_eq!(kept.insert(job(0, Priority::High)).expect_err("it is taken").field, "id");
        next(&mut kept, crate::time::now().mono);
        assert!(kept.insert(job(0, Priority::Low)).is_err(), "it is under way");
        kept.remove("job-0");
        assert!(kept.insert(job(0, Priority::Low)).is_ok());
    }

    proptest! {
        /// Whatever is done with them in whatever order: each job is given out until it is over, and none twice at a time.
        #[test]
        fn nothing_is_lost_and_nothing_is_doubled(
            steps in prop::collection::vec((0u8..5, 0usize..4, 0u64..40), 1..300),
        ) {
            let mut now = crate::time::now().mono;
            let mut kept = Kept::default();
            let (mut number, mut alive, mut out) = (0, std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (step, which, pick) in steps {
                now += Duration::from_millis(pick);
                match step {
                    0 | 1 => {
                        kept.insert(job(number, Priority::ALL[which])).expect("an id of its own");
                        alive.insert(number);
                        number += 1;
                    }
                    2 => if let Some(taken) = next(&mut kept, now) {
                        prop_assert!(alive.contains(&taken) && out.insert(taken));
                    },
                    _ => if let Some(&taken) = out.iter().nth(which) {
                        out.remove(&taken);
                        if step == 3 {
                            kept.put_off(&format!("job-{taken}"), now + Duration::from_millis(pick));
                        } else {
                            kept.remove(&format!("job-{taken}"));
                            alive.remove(&taken);
                        }
                    },
                }
            }
            now += Duration::from_secs(1);
            while let Some(taken) = next(&mut kept, now) {
                prop_assert!(alive.contains(&taken) && out.insert(taken));
            }
            prop_assert_eq!(out, alive);
        }
    }
}
