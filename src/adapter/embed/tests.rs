use serde_json::{Value, json};

use crate::adapter::{Endpoint, EndpointParams, service, services};
use crate::error::{Failure, FailureClass};
use crate::types::{EmbedInput, EmbedRequest, Usage};

fn endpoint(name: &str) -> Endpoint {
    let params = EndpointParams::new(service(name).expect("known"));
    let base_url = params.service.base_url.is_none().then(|| "https://h/v1".to_owned());
    Endpoint::new(EndpointParams { base_url, ..params }).expect("valid")
}

fn body(name: &str, request: &EmbedRequest) -> Value {
    let encoded = endpoint(name).encode_embed(request, "m", 0..request.input.len()).expect("encodes");
    serde_json::from_slice(&encoded.body).expect("JSON")
}

fn texts(texts: &[&str]) -> EmbedRequest {
    EmbedRequest::new(texts.iter().copied())
}

fn cut() -> EmbedRequest {
    EmbedRequest { dimensions: Some(2), ..texts(&["a", "b"]) }
}

#[test]
fn each_family_is_asked_in_its_own_words() {
    assert_eq!(
        body("openai", &cut()),
        json!({ "model": "m", "input": ["a", "b"], "dimensions": 2, "encoding_format": "base64" })
    );
    assert_eq!(body("mistral", &cut()), json!({ "model": "m", "input": ["a", "b"], "output_dimension": 2 }));
    let one = |text: &str| json!({ "model": "models/m", "content": { "parts": [{ "text": text }] }, "outputDimensionality": 2 });
    assert_eq!(body("gemini", &cut()), json!({ "requests": [one("a"), one("b")] }));
    assert_eq!(
        body("cohere", &cut()),
        json!({ "model": "m", "texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"],
            "output_dimension": 2, "truncate": "NONE" })
    );
    assert_eq!(
        body("ollama", &cut()),
        json!({ "model": "m", "input": ["a", "b"], "truncate": false, "dimensions": 2 })
    );
    assert_eq!(body("openai-compatible", &texts(&["a"])), json!({ "model": "m", "input": ["a"] }));
}

#[test]
fn what_a_service_cannot_take_is_refused_or_named() {
    let tokens = EmbedRequest { input: EmbedInput::Tokens(vec![vec![1, 2]]), ..texts(&[]) };
    assert_eq!(body("openai", &tokens)["input"], json!([[1, 2]]));
    for name in ["cohere", "gemini", "mistral", "ollama"] {
        let error = endpoint(name).encode_embed(&tokens, "m", 0..1).expect_err(name);
        assert_eq!(error.field, "input", "{name}");
    }
    assert_eq!(endpoint("groq").encode_embed(&cut(), "m", 0..2).expect_err("not cut").field, "dimensions");
    assert_eq!(endpoint("anthropic").encode_embed(&cut(), "m", 0..2).expect_err("none").field, "input");
    assert!(endpoint("anthropic").embed_uri("m").is_none());

    let user = EmbedRequest { user: Some("u".to_owned()), ..texts(&["a"]) };
    assert_eq!(body("openai", &user)["user"], "u");
    let encoded = endpoint("cohere").encode_embed(&user, "m", 0..1).expect("encodes");
    assert_eq!(encoded.warnings, ["user: not supported by cohere, not sent"]);
    let strict = EndpointParams { strict: true, ..EndpointParams::new(service("cohere").expect("known")) };
    let strict = Endpoint::new(strict).expect("valid");
    assert_eq!(strict.encode_embed(&user, "m", 0..1).expect_err("strict").field, "user");
}

#[test]
fn extra_body_goes_over_everything() {
    let Value::Object(extra) = json!({ "input_type": "search_query" }) else { panic!("an object") };
    let mut request = texts(&["a"]);
    request.extra_body.insert("cohere".to_owned(), extra);
    assert_eq!(body("cohere", &request)["input_type"], "search_query");
    assert_eq!(body("openai", &request).get("input_type"), None);
}

/// Where every batch of a request ends.
fn batches(name: &str, request: &EmbedRequest, reply_limit: usize) -> Vec<usize> {
    let endpoint = endpoint(name);
    let mut ends = vec![endpoint.end_of_batch(request, 0, reply_limit)];
    while ends[ends.len() - 1] < request.input.len() {
        ends.push(endpoint.end_of_batch(request, ends[ends.len() - 1], reply_limit));
    }
    ends
}

#[test]
fn a_batch_ends_at_the_limits_of_the_service() {
    const ALL: usize = usize::MAX;
    let many = EmbedRequest::new(std::iter::repeat_n("x", 2_100));
    assert_eq!(batches("openai", &many, ALL), [2_048, 2_100]);
    assert_eq!(batches("cohere", &many, ALL).len(), 22);
    assert_eq!(batches("gemini", &many, ALL)[0], 100);
    assert_eq!(batches("mistral", &many, ALL)[0], 32);
    // By tokens, counted on the safe side: 2 bytes each.
    let long = EmbedRequest::new([250_000, 300_000, 300_000, 1_000_000, 4].map(|length| "x".repeat(length)));
    assert_eq!(batches("openai", &long, ALL), [2, 3, 4, 5]);
    let tokens = EmbedRequest { input: EmbedInput::Tokens(vec![vec![0; 150_000]; 3]), ..texts(&[]) };
    assert_eq!(batches("openai", &tokens, ALL), [2, 3]);
    // Before the reply would be too long to be read, and never without an input.
    assert_eq!(batches("openai", &many, 3_072 * 6 * 1_500), [1_500, 2_100]);
    assert_eq!(batches("ollama", &texts(&["a", "b"]), 1), [1, 2]);
    let short = EmbedRequest { dimensions: Some(3), ..many };
    assert_eq!(batches("openai", &short, 3_072 * 6 * 1_500), [2_048, 2_100]);
}

const OPENAI: &str = r#"{"object":"list","model":"s","usage":{"prompt_tokens":4,"total_tokens":4},"data":[
    {"object":"embedding","index":1,"embedding":[0.25,-1e-3]},{"object":"embedding","index":0,"embedding":"AACAPwAAAMA="}]}"#;

#[test]
fn vectors_come_in_the_order_of_the_inputs_in_any_form() {
    let reply = endpoint("openai").decode_embed(OPENAI.as_bytes(), 2, None).expect("vectors");
    assert_eq!(reply.vectors, [vec![1.0, -2.0], vec![0.25, -1e-3]]);
    assert_eq!((reply.model.as_str(), reply.usage), ("s", Some(Usage::reported(4, 0))));
    for (name, body, usage) in [
        ("gemini", r#"{"embeddings":[{"values":[1,2]},{"values":[3,4]}]}"#, None),
        ("ollama", r#"{"model":"m","embeddings":[[1,2],[3,4]],"prompt_eval_count":7}"#, Some(7)),
        (
            "cohere",
            r#"{"id":"x","embeddings":{"float":[[1,2],[3,4]]},"meta":{"billed_units":{"input_tokens":7}}}"#,
            Some(7),
        ),
        ("openai-compatible", r#"{"data":[{"embedding":[1,2]},{"embedding":[3,4]}]}"#, None),
    ] {
        let reply = endpoint(name).decode_embed(body.as_bytes(), 2, Some(2)).expect(body);
        assert_eq!(reply.vectors, [[1.0, 2.0], [3.0, 4.0]], "{name}");
        assert_eq!(reply.usage, usage.map(|tokens| Usage::reported(tokens, 0)), "{name}");
    }
}

fn failure(name: &str, body: &str, inputs: usize, dimensions: Option<u32>) -> Failure {
    endpoint(name).decode_embed(body.as_bytes(), inputs, dimensions).expect_err(body)
}

#[test]
fn what_is_no_set_of_vectors_is_a_failure() {
    let data = |items: &str| format!("{{\"data\":[{items}]}}");
    for (items, why) in [
        (r#"{"index":0,"embedding":[1]}"#, "1 vectors came for 2 inputs"),
        (r#"{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}"#, "do not say which"),
        (r#"{"index":0,"embedding":[1]},{"index":7,"embedding":[2]}"#, "do not say which"),
        (r#"{"index":0,"embedding":[1]},{"embedding":[2]}"#, "do not say which"),
        (r#"{"index":0,"embedding":[1,2]},{"index":1,"embedding":[2]}"#, "has 1 numbers"),
        (r#"{"index":0,"embedding":[]},{"index":1,"embedding":[]}"#, "is empty"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":[null]}"#, "not a finite number"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":"AADAfw=="}"#, "not a finite number"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":"AACAPwA="}"#, "5 bytes"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":"?"}"#, "no base64"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":["NaN"]}"#, "unreadable"),
        (r#"{"index":0,"embedding":[1]},{"index":1,"embedding":[1e999]}"#, "unreadable"),
    ] {
        let failure = failure("openai", &data(items), 2, None);
        assert_eq!(failure.class, FailureClass::BadReply, "{items}");
        assert!(failure.message.contains(why), "{items}: {}", failure.message);
    }
    for name in services().iter().filter(|service| service.dialect.embeddings.is_some()).map(|service| service.name) {
        for body in ["", "[]", "{}", "<html></html>", "{\"data\":", "{\"embeddings\":5}", "{\"data\":null}"] {
            assert_eq!(failure(name, body, 1, None).class, FailureClass::BadReply, "{name}: {body}");
        }
        let limited = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
        assert_eq!(failure(name, limited, 1, None).class, FailureClass::RateLimit, "{name}");
    }
    // It answers, but not as asked: the breaker is not fed.
    let body = data(r#"{"index":0,"embedding":[1,2,3]}"#);
    assert_eq!(failure("openai", &body, 1, Some(2)).class, FailureClass::ModelOutputInvalid);
}
