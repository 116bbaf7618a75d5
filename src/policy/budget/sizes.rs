//! How long a model's answers are of late, for what is reserved before the next one comes.

/// Answers that are remembered: the fewest of which a 99th percentile leaves one out.
const REMEMBERED: usize = 100;

/// With fewer answers than this, one of them says nothing about the next.
const ENOUGH: usize = 10;

/// What an answer is taken to have while too little is known: two pages of text, more than most answers.
const UNKNOWN: u32 = 1_000;

/// The tokens of a model's last hundred answers.
///
/// ```
/// use llmpool::policy::AnswerSizes;
/// let mut sizes = AnswerSizes::default();
/// assert_eq!((sizes.expected(None), sizes.expected(Some(50))), (1_000, 50));
/// (1..=100).for_each(|tokens| sizes.push(tokens));
/// assert_eq!(sizes.expected(None), 99);
/// ```
#[derive(Debug, Default)]
pub struct AnswerSizes {
    tokens: Vec<u32>,
    /// Where the next one goes once all places are taken.
    next: usize,
}

impl AnswerSizes {
    pub fn push(&mut self, tokens: u64) {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        if self.tokens.len() < REMEMBERED {
            self.tokens.push(tokens);
        } else if let Some(oldest) = self.tokens.get_mut(self.next) {
            *oldest = tokens;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// Tokens that 99 of 100 answers do not exceed, never more than the request's bound. Before ten answers were seen: a
    /// thousand, or the longest so far where that is more.
    pub fn expected(&self, bound: Option<u32>) -> u64 {
        let mut sorted = self.tokens.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100);
        let p99 = rank.checked_sub(1).map_or(0, |at| sorted[at]);
        let expected = if sorted.len() < ENOUGH { p99.max(UNKNOWN) } else { p99 };
        bound.map_or(expected, |bound| expected.min(bound)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_answer_in_a_hundred_is_left_out_and_two_are_not() {
        let mut sizes = AnswerSizes::default();
        (0..99).for_each(|_| sizes.push(50));
        sizes.push(9_000);
        assert_eq!(sizes.expected(None), 50);
        sizes.push(8_000);
        assert_eq!(sizes.expected(None), 8_000);
    }

    #[test]
    fn a_few_answers_do_not_lower_what_is_taken_to_come() {
        let mut sizes = AnswerSizes::default();
        sizes.push(5);
        assert_eq!(sizes.expected(None), 1_000);
        sizes.push(4_000);
        assert_eq!((sizes.expected(None), sizes.expected(Some(300))), (4_000, 300));
        (0..8).for_each(|_| sizes.push(5));
        assert_eq!(sizes.expected(None), 4_000);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut sizes = AnswerSizes::default();
        sizes.push(u64::MAX);
        (0..REMEMBERED).for_each(|_| sizes.push(7));
        assert_eq!(sizes.expected(None), 7);
        assert_eq!(sizes.tokens.len(), REMEMBERED);
    }
}
