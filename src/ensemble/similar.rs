//! When two texts that are not equal say the same all the same.
//!
//! Texts that are not equal may be *similar*. That many letters are the same proves nothing: "safe" and "unsafe", 15 % and
//! 16 % differ by a letter and say the opposite, "Niger" and "Nigeria" are two countries. So two things must hold. The words
//! of one stand in the other, in the same order: one text may say more than the other, but never another word in the place
//! of one, be it another form of it. And what it says more is neither a number, nor a sign, nor a word that denies
//! ([`turns_the_meaning`]). Only then are letters compared. What this cannot see is meaning: "yes" and "certainly" are two
//! answers. Two groups too many cost a vote; one too few gives an answer that nobody gave.

/// Longer texts are the same when they are equal and only then: comparing pieces of them, each answer with each other one,
/// would hold up every other call and outlast the deadline.
const MOST_COMPARED: usize = 8 * 1024;

/// Texts as [`Canonical`](super::canonical::Canonical) has them: lower case, one space between words.
pub fn are_similar(one: &str, other: &str, similarity: f64) -> bool {
    similarity < 1.0
        && one.len().max(other.len()) <= MOST_COMPARED
        && have_the_same_words(&words(one), &words(other))
        && strsim::sorensen_dice(one, other) >= similarity
}

/// Does the longer one have all words of the shorter one in their order, and beyond them none that turns the meaning?
fn have_the_same_words(one: &[&str], other: &[&str]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let turning = |words: &[&str]| words.iter().filter(|word| turns_the_meaning(word)).count();
    // Each word of the short one with the first that fits: when any choice fits them all, this one does.
    let mut rest = long.iter();
    !short.is_empty() && short.iter().all(|word| rest.any(|other| word == other)) && turning(short) == turning(long)
}

/// Words, numbers and signs. Apostrophes belong to their word; a sign before a number, and a point or a comma in it or
/// before it, to the number.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begun: Option<usize> = None;
    let mut before = ' ';
    let mut last = ' ';
    for (at, letter) in text.char_indices() {
        let rest = &text[at + letter.len_utf8()..];
        let next = rest.chars().next().unwrap_or(' ');
        let joins = match letter {
            '\'' | '’' => before.is_alphanumeric() && next.is_alphanumeric() && !before.is_numeric(),
            '.' | ',' => next.is_numeric() && (before.is_numeric() || !before.is_alphanumeric()),
            '-' | '−' => !before.is_alphanumeric() && next.is_numeric(),
            letter => letter.is_alphanumeric(),
        };
        if joins {
            begun.get_or_insert(at);
        } else {
            words.extend(begun.take().map(|from| &text[from..at]));
            if !letter.is_whitespace() && (!PUNCTUATION.contains(letter) || is_of_a_number(letter, before, last, rest))
            {
                words.push(&text[at..at + letter.len_utf8()]);
            }
        }
        before = letter;
        if letter.is_alphanumeric() {
            last = letter;
        }
    }
    words.extend(begun.map(|from| &text[from..]));
    words
}

/// Structures a text and says nothing by itself, unless it is [of a number](is_of_a_number). Every other sign does: %, <,
/// €, ✓.
const PUNCTUATION: &str = ".,;:!?…\"'“”„‘’«»()[]{}-–—_*`/\\|·•";

/// Among punctuation what may stand for an operation: next to a number it does, with or without a space between.
const OPERATORS: &str = "-–—_*/\\|·•";

/// Does a sign of punctuation belong to a number beside it? `before`: the letter before it; `last`: the last one before it
/// that is no sign.
fn is_of_a_number(sign: char, before: char, last: char, rest: &str) -> bool {
    /// So far is looked for the number behind a sign: $, a bracket and a space may stand between.
    const FAR: usize = 8;
    let is_before = before.is_numeric();
    match sign {
        _ if OPERATORS.contains(sign) => {
            let next = rest.chars().take(FAR).find(|letter| letter.is_alphanumeric());
            last.is_numeric() || next.is_some_and(char::is_numeric)
        }
        // A factorial, feet and inches.
        '!' | '"' | '\'' | '”' | '’' => is_before,
        // A ratio.
        ':' => last.is_numeric() && rest.trim_start().starts_with(char::is_numeric),
        _ => is_before && rest.starts_with(char::is_numeric),
    }
}

/// A number, a sign, or a word that denies. Of these two texts must have the same, or they say other things.
fn turns_the_meaning(word: &str) -> bool {
    let mut letters = word.chars();
    letters.clone().any(char::is_numeric)
        || !letters.clone().any(char::is_alphanumeric)
        || word.ends_with("n't")
        || word.ends_with("n’t")
        || word.starts_with("n'")
        || word.starts_with("n’")
        || letters.any(|letter| DENYING_SIGNS.contains(letter))
        || DENYING.contains(&word)
        || NUMBERS.contains(&word)
}

/// Words that deny or except, in languages in which answers are often given. In others a word that is added passes for
/// one more word; a word in the place of another never does, in no language.
const DENYING: [&str; 82] = [
    "no",
    "not",
    "never",
    "none",
    "nor",
    "neither",
    "nothing",
    "nobody",
    "nowhere",
    "without",
    "cannot",
    "cant",
    "dont",
    "hardly",
    "barely",
    "scarcely",
    "rarely",
    "seldom",
    "minus",
    "negative",
    "except",
    "unless",
    "false",
    "nicht",
    "kein",
    "keine",
    "keinen",
    "keinem",
    "keiner",
    "keines",
    "nie",
    "niemals",
    "niemand",
    "nichts",
    "nirgends",
    "ohne",
    "weder",
    "kaum",
    "außer",
    "ne",
    "pas",
    "jamais",
    "rien",
    "aucun",
    "aucune",
    "sans",
    "ni",
    "sauf",
    "nunca",
    "jamás",
    "sin",
    "nada",
    "nadie",
    "ninguno",
    "ninguna",
    "salvo",
    "non",
    "mai",
    "senza",
    "niente",
    "nulla",
    "nessuno",
    "não",
    "sem",
    "nenhum",
    "nenhuma",
    "ninguém",
    "niet",
    "geen",
    "nooit",
    "niets",
    "zonder",
    "не",
    "нет",
    "ни",
    "никогда",
    "без",
    "ничего",
    "inte",
    "aldrig",
    "ikke",
    "nem",
];

/// The same in scripts without spaces, where a word is a whole clause.
const DENYING_SIGNS: &str = "不没沒无無非未勿别別莫否";

/// Numbers as words.
const NUMBERS: [&str; 38] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "billion",
    "dozen",
    "half",
    "double",
    "triple",
    "twice",
    "once",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ensemble::canonical::Canonical;
    use crate::types::Reply;

    fn text(content: &str) -> Canonical {
        Canonical::of(&Reply { content: content.to_owned(), ..Reply::default() })
    }

    #[test]
    fn texts_are_similar_when_one_has_the_words_of_the_other() {
        let one = "The launch of the new rocket takes place on 5 May at noon.";
        for other in [
            "The launch of the new rocket, takes place (on 5 May) at noon",
            "The launch of the new big rocket takes place on 5 May at noon.",
        ] {
            assert!(text(one).says(&text(other), 0.9) && text(other).says(&text(one), 0.9), "{other}");
            assert!(!text(one).says(&text(other), 1.0), "{other}");
        }
        for other in [
            "The launch of the new rocket takes place on 6 May at noon.",
            "The launch of the new rocket takes place on 5 June at noon.",
            "The launch of the old rocket takes place on 5 May at noon.",
            "The launch of the new rocket takes no place on 5 May at noon.",
            "The launch of the rocket new takes place on 5 May at noon.",
            "The launch of the new rocket take place on 5 May at noon.",
            "No launch is planned.",
        ] {
            assert!(!text(one).says(&text(other), 0.9) && !text(other).says(&text(one), 0.9), "{other}");
        }
    }

    #[test]
    fn what_turns_the_meaning_is_never_similar() {
        for (one, other) in [
            ("it is safe to deploy the whole change tonight", "it is unsafe to deploy the whole change tonight"),
            ("the patient should take the medicine with food", "the patient should not take the medicine with food"),
            ("the rate rises to 15 % in the coming year", "the rate rises to 16 % in the coming year"),
            ("the rate rises to 15 % in the coming year", "the rate rises to 15 € in the coming year"),
            ("the rate rises by 1.5 points in the coming year", "the rate rises by 15 points in the coming year"),
            ("the balance of the account is -5 at the end", "the balance of the account is 5 at the end"),
            ("it takes six days to build the whole of it", "it takes sixty days to build the whole of it"),
            ("it takes days to build the whole of it again", "it takes ten days to build the whole of it again"),
            ("you can open the door from the inside tonight", "you can't open the door from the inside tonight"),
            ("you can open the door from the inside tonight", "you cannot open the door from the inside tonight"),
            ("the work was done with much care by everybody", "the work was done with much careless by everybody"),
            ("das ist eine gute Lösung für alle Beteiligten", "das ist keine gute Lösung für alle Beteiligten"),
            ("c'est vrai pour tous les cas de cette liste", "ce n'est vrai pour tous les cas de cette liste"),
            ("在这种情况下部署到生产环境是安全的", "在这种情况下部署到生产环境是不安全的"),
            ("the quick brown fox bites the big black dog", "the quick black dog bites the big brown fox"),
            ("the largest of all these countries is Niger", "the largest of all these countries is Nigeria"),
            ("the letter was written by William to his son", "the letter was written by Williams to his son"),
            ("the part of the whole that remains is 1/2", "the part of the whole that remains is 1-2"),
            ("the part of the whole that remains is 1 / 2", "the part of the whole that remains is 1 - 2"),
            ("the part of the whole that remains is n/2", "the part of the whole that remains is n-2"),
            ("the part of the whole that remains is 1:2", "the part of the whole that remains is 1, 2"),
            ("the value of the constant is .5 in this case", "the value of the constant is 5 in this case"),
            ("the value of the constant is -.5 in this case", "the value of the constant is .5 in this case"),
            ("the balance of the account is -$5 at the end", "the balance of the account is $5 at the end"),
            ("the value of the product is 5! in this case", "the value of the product is 5 in this case"),
            ("the height of the whole wall is 6' in all", "the height of the whole wall is 6\" in all"),
            ("the value of the product is 2(3) in this case", "the value of the product is 2 3 in this case"),
            ("the sum of all of it is minus five hundred", "the sum of all of it is five hundred"),
            ("he is seldom to be found in his own house", "he is to be found in his own house"),
            ("he is rarely to be found in his own house", "he is to be found in his own house"),
            ("value of the first is < that of the second", "value of the first is > that of the second"),
        ] {
            assert!(!text(one).says(&text(other), 0.3), "{one} / {other}");
            assert!(!text(other).says(&text(one), 0.3), "{other} / {one}");
        }
    }

    proptest! {
        #[test]
        fn a_word_that_turns_the_meaning_is_seen_wherever_it_stands(
            words in prop::collection::vec("[a-z]{1,9}", 1..30),
            at in any::<prop::sample::Index>(),
            turning in prop::sample::select(vec!["not", "never", "without", "nicht", "15", "-3", "%", "isn't", "six"]),
        ) {
            let at = at.index(words.len() + 1);
            let mut turned = words.clone();
            turned.insert(at, turning.to_owned());
            let (one, other) = (text(&words.join(" ")), text(&turned.join(" ")));
            prop_assert!(!one.says(&other, 0.0) && !other.says(&one, 0.0));
        }

        #[test]
        fn saying_the_same_is_mutual(one in "[ab1%'.* -]{0,12}", other in "[ab1%'.* -]{0,12}", similarity in 0.0..=1.0f64) {
            let (one, other) = (text(&one), text(&other));
            prop_assert_eq!(one.says(&other, similarity), other.says(&one, similarity));
            prop_assert!(one.says(&one, similarity));
        }
    }

    #[test]
    fn what_is_too_long_to_compare_is_the_same_only_when_it_is_equal() {
        let long = "word ".repeat(MOST_COMPARED / 4);
        assert!(text(&long).says(&text(&long.to_uppercase()), 0.9));
        assert!(!text(&long).says(&text(&format!("{long} x")), 0.9));
    }
}
