//! Which signed requests were seen before.
//!
//! A nonce is remembered for as long as its request could be good: twice the skew that is allowed, once for a clock that
//! is behind and once for one that is ahead, and a second, because times are said in whole ones. Only requests whose signature is right are remembered, so nobody but a
//! client can fill the memory, and a client can fill its own part only. When that is full its requests are refused until
//! the oldest may be forgotten: forgetting one before its time would let it in again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};

/// Of one client. At the usual skew that is 400 requests a second, and about 20 megabytes when it is full.
const MOST: usize = 250_000;

/// One for all ports of this process: what one of them has seen, no other takes.
pub(super) static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(MOST));

/// Enough of a hash that nobody finds two nonces with the same.
type Print = [u8; 16];

/// What clients have sent.
pub(super) struct Nonces {
    /// By the hash of a client's secret: a new secret begins anew.
    clients: Mutex<HashMap<Print, Seen>>,
    most: usize,
}

/// Of one client.
#[derive(Default)]
struct Seen {
    prints: HashSet<Print>,
    /// The same with the Unix milliseconds until which each is remembered, the oldest first.
    order: VecDeque<(u64, Print)>,
}

/// Why a nonce is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It was sent before.
    Again,
    /// No room is left for it, for so long.
    Full(Duration),
}

impl Nonces {
    pub fn new(most: usize) -> Self {
        Self { clients: Mutex::default(), most }
    }

    /// Takes a nonce once.
    pub fn take(&self, secret: &str, nonce: &str, now_ms: u64, remember: Duration) -> Result<(), Refusal> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = print(secret);
        if !clients.contains_key(&client) {
            // Secrets that are gone must not pile up, however often a configuration brings new ones.
            clients.retain(|_, seen| !seen.forget(now_ms));
        }
        let seen = clients.entry(client).or_default();
        seen.forget(now_ms);
        let nonce = print(nonce);
        if seen.prints.contains(&nonce) {
            return Err(Refusal::Again);
        }
        if let Some((until, _)) = seen.order.front().filter(|_| seen.order.len() >= self.most) {
            return Err(Refusal::Full(Duration::from_millis(until.saturating_sub(now_ms))));
        }
        let until = now_ms.saturating_add(u64::try_from(remember.as_millis()).unwrap_or(u64::MAX));
        seen.order.push_back((until, nonce));
        seen.prints.insert(nonce);
        Ok(())
    }
}

impl Seen {
    /// Lets go of what is past; nothing is left?
    fn forget(&mut self, now_ms: u64) -> bool {
        while let Some((_, print)) = self.order.front().filter(|(until, _)| *until < now_ms) {
            self.prints.remove(print);
            self.order.pop_front();
        }
        self.order.is_empty()
    }
}

fn print(text: &str) -> Print {
    let mut print = Print::default();
    print.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..size_of::<Print>()]);
    print
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_millis(100);

    #[test]
    fn a_nonce_is_taken_once_while_it_is_remembered() {
        let nonces = Nonces::new(10);
        assert_eq!(nonces.take("a", "n", 1000, KEEP), Ok(()));
        assert_eq!(nonces.take("a", "n", 1000, KEEP), Err(Refusal::Again));
        assert_eq!(nonces.take("a", "n", 1100, KEEP), Err(Refusal::Again));
        assert_eq!(nonces.take("b", "n", 1000, KEEP), Ok(()), "another client's");
        assert_eq!(nonces.take("a", "n", 1101, KEEP), Ok(()));
    }

    #[test]
    fn a_full_memory_forgets_nothing_and_takes_nothing() {
        let nonces = Nonces::new(2);
        assert_eq!(nonces.take("a", "1", 1000, KEEP), Ok(()));
        assert_eq!(nonces.take("a", "2", 1010, KEEP), Ok(()));
        assert_eq!(nonces.take("a", "3", 1020, KEEP), Err(Refusal::Full(Duration::from_millis(80))));
        assert_eq!(nonces.take("a", "1", 1020, KEEP), Err(Refusal::Again));
        assert_eq!(nonces.take("b", "1", 1020, KEEP), Ok(()), "others have room");
        assert_eq!(nonces.take("a", "3", 1101, KEEP), Ok(()));
    }

    #[test]
    fn clients_that_are_gone_leave_nothing() {
        let nonces = Nonces::new(2);
        for (at, client) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(nonces.take(client, "1", at as u64 * 1000, KEEP), Ok(()));
        }
        assert_eq!(nonces.clients.lock().expect("no panic").len(), 1);
    }
}
