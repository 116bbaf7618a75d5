//! "Did you mean": the known word nearest to one that is not known.

use strsim::osa_distance;

/// Completes a message about `word`, or is empty when nothing known is near.
///
/// Case, `_` and `-` do not count, so that `maxRetries` finds `max_retries`. A third of the letters may differ: with
/// more, the guess is usually wrong, and a wrong guess is worse than none.
pub fn nearest(word: &str, known: &[&str]) -> String {
    let plain = plain(word);
    known
        .iter()
        .map(|known| (osa_distance(&plain, &self::plain(known)), known))
        .filter(|(distance, known)| *distance <= plain.len().max(known.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known:?}?"))
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word_and_strangers_find_none() {
        let known = ["api_key", "api_keys", "base_url", "max_retries", "name"];
        for (word, expected) in [
            ("apikey", "api_key"),
            ("api_kyes", "api_keys"),
            ("baseURL", "base_url"),
            ("base_uri", "base_url"),
            ("maxRetries", "max_retries"),
            ("nmae", "name"),
        ] {
            assert_eq!(nearest(word, &known), format!("; did you mean {expected:?}?"), "{word}");
        }
        for word in ["temperature", "x", "", "tags"] {
            assert_eq!(nearest(word, &known), "", "{word}");
        }
    }
}
