//! Carries the state of a model's reasoning through a client that has another word for it.
//!
//! Both APIs have one opaque text that a client sends back with the turn it came with: Anthropic's `signature` and
//! OpenAI's `encrypted_content`. Whatever state an answer has, of whichever provider, goes out in it and comes home.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::types::ReasoningState;

/// What stands before it; nobody's own signature does.
const MARK: &str = "llmpool.";

/// The state as an opaque text.
pub(super) fn sealed(state: &ReasoningState) -> String {
    let json = serde_json::to_vec(state).unwrap_or_default(); // texts and a JSON value, which are JSON
    format!("{MARK}{}", STANDARD_NO_PAD.encode(json))
}

/// The state that was sealed in this; `None`: it is somebody else's text.
pub(super) fn opened(text: &str) -> Option<ReasoningState> {
    serde_json::from_slice(&STANDARD_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_comes_home_and_nothing_else_does() {
        let state = ReasoningState { provider: "a".into(), model: "m".into(), state: json!({ "blocks": ["é"] }) };
        assert_eq!(opened(&sealed(&state)), Some(state));
        for foreign in ["", "llmpool.", "llmpool.!", "llmpool.e30", "EqQBCkYIBxgC"] {
            assert_eq!(opened(foreign), None, "{foreign}");
        }
    }
}
