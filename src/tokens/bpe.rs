//! Byte-pair encoding, as far as counting goes.
//!
//! A piece of text starts as single bytes. Of all neighbours whose concatenation is a token, the pair with the lowest
//! rank is joined, the leftmost first, until none is left. A heap holds the pairs, so a piece of n bytes takes
//! n · log n steps, also when it is one letter a hundred thousand times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The tokens of one encoding, by their bytes.
pub(super) struct Vocabulary {
    ranks: HashMap<&'static [u8], u32>,
}

/// Room to work in, kept from piece to piece.
#[derive(Default)]
pub(super) struct Scratch {
    /// For each byte where a part begins: where it ends. [`GONE`] where none begins any more.
    ends: Vec<u32>,
    /// For each byte where a part begins: where the one before it begins.
    starts: Vec<u32>,
    pairs: BinaryHeap<Reverse<Pair>>,
}

/// Two neighbours that can be joined. The order of the fields is the order of joining.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    start: u32,
    end: u32,
}

/// Where no part begins.
const GONE: u32 = u32::MAX;

// === impl Vocabulary ===

impl Vocabulary {
    /// Reads what `scripts/update-vocabularies.mjs` writes: each token its length and its bytes, in the order of rank.
    pub fn read(mut file: &'static [u8], tokens: usize) -> Self {
        let mut ranks = HashMap::with_capacity(tokens);
        while let Some((length, rest)) = file.split_first() {
            let Some((token, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
            ranks.insert(token, ranks.len() as u32);
            file = rest;
        }
        Self { ranks }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Tokens of one piece of text, as the splitter cuts it.
    pub fn count(&self, piece: &[u8], scratch: &mut Scratch) -> usize {
        if piece.len() <= 1 || self.ranks.contains_key(piece) {
            return usize::from(!piece.is_empty());
        }
        let length = piece.len() as u32;
        let Scratch { ends, starts, pairs } = scratch;
        ends.clear();
        ends.extend(1..=length);
        starts.clear();
        starts.extend((0..length).map(|at| at.wrapping_sub(1)));
        pairs.clear();
        let pair = |start: u32, end: u32| {
            let rank = *self.ranks.get(&piece[start as usize..end as usize])?;
            Some(Reverse(Pair { rank, start, end }))
        };
        pairs.extend((0..length - 1).filter_map(|at| pair(at, at + 2)));
        let mut parts = piece.len();
        while let Some(Reverse(Pair { start, end, .. })) = pairs.pop() {
            let middle = ends[start as usize];
            // Still these two? One of them may have been joined with another one since.
            if middle >= length || ends[middle as usize] != end {
                continue;
            }
            ends[start as usize] = end;
            ends[middle as usize] = GONE;
            parts -= 1;
            if end < length {
                starts[end as usize] = start;
                pairs.extend(pair(start, ends[end as usize]));
            }
            if start > 0 {
                pairs.extend(pair(starts[start as usize], end));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "a", "b", "c", "ab", "bc", "abc", "aa", "aaaa" in this order of rank.
    const SMALL: &[u8] = b"\x01a\x01b\x01c\x02ab\x02bc\x03abc\x02aa\x04aaaa";

    fn count(piece: &str) -> usize {
        Vocabulary::read(SMALL, 8).count(piece.as_bytes(), &mut Scratch::default())
    }

    #[test]
    fn a_piece_that_is_a_token_is_one() {
        assert_eq!(["", "a", "abc", "aaaa"].map(count), [0, 1, 1, 1]);
    }

    #[test]
    fn the_lowest_rank_is_joined_first() {
        assert_eq!(count("bcab"), 2); // bc ab
        assert_eq!(count("abcb"), 2); // ab before bc, then abc b
        assert_eq!(count("cabc"), 2);
    }

    #[test]
    fn the_leftmost_of_equals_is_joined_first() {
        assert_eq!(count("aaa"), 2); // aa a
        assert_eq!(count("aaaaa"), 2); // aaaa a
        assert_eq!(count("aaaaaa"), 2); // aaaa aa
        assert_eq!(count("aab"), 2); // a ab: ab has the lower rank
    }

    #[test]
    fn bytes_of_no_token_stay_single() {
        assert_eq!(count("xyz"), 3);
    }

    #[test]
    fn one_room_serves_many_pieces() {
        let vocabulary = Vocabulary::read(SMALL, 8);
        let mut scratch = Scratch::default();
        for (piece, tokens) in [("aaaaaaaaab", 3), ("ab", 1), ("xa", 2), ("aaaaaaaaab", 3)] {
            assert_eq!(vocabulary.count(piece.as_bytes(), &mut scratch), tokens, "{piece}");
        }
    }
}
