use super::super::{Endpoint, EndpointParams, service, services};
use super::*;
use crate::error::FailureClass;

fn endpoint(name: &str, base_url: Option<&str>) -> Endpoint {
    let base_url = base_url.map(str::to_owned);
    Endpoint::new(EndpointParams { base_url, ..EndpointParams::new(service(name).expect("known")) }).expect("valid")
}

fn asked(endpoint: &Endpoint) -> Option<String> {
    endpoint.models_request(None, 1).map(|request| request.uri.to_string())
}

#[test]
fn every_service_is_asked_where_it_lists() {
    for (name, base, expected) in [
        ("openai", None, Some("https://api.openai.com/v1/models")),
        ("groq", None, Some("https://api.groq.com/openai/v1/models")),
        ("together", None, Some("https://api.together.xyz/v1/models")),
        ("mistral", None, Some("https://api.mistral.ai/v1/models")),
        ("deepseek", None, Some("https://api.deepseek.com/models")),
        ("openrouter", None, Some("https://openrouter.ai/api/v1/models")),
        ("xai", None, Some("https://api.x.ai/v1/models")),
        ("fireworks", None, Some("https://api.fireworks.ai/inference/v1/models")),
        ("perplexity", None, None),
        ("azure", Some("https://r.openai.azure.com"), Some("https://r.openai.azure.com/openai/v1/models")),
        (
            "azure",
            Some("https://r.openai.azure.com?api-version=2024-10-21"),
            Some("https://r.openai.azure.com/openai/models?api-version=2024-10-21"),
        ),
        ("openai-compatible", Some("http://h:8080"), Some("http://h:8080/v1/models")),
        ("openai-compatible", Some("http://h/v1?a=b"), Some("http://h/v1/models?a=b")),
        ("anthropic", Some("https://h?a=b"), Some("https://h/v1/models?a=b&limit=1")),
        ("gemini", None, Some("https://generativelanguage.googleapis.com/v1beta/models?pageSize=1")),
        ("cohere", None, Some("https://api.cohere.com/v1/models?page_size=1")),
        ("cohere", Some("https://api.cohere.ai/v1"), Some("https://api.cohere.ai/v1/models?page_size=1")),
        ("ollama", None, Some("http://localhost:11434/api/tags")),
    ] {
        assert_eq!(asked(&endpoint(name, base)).as_deref(), expected, "{name} {base:?}");
    }
}

#[test]
fn the_key_and_the_configured_headers_go_along_and_no_body_is_announced() {
    for service in services() {
        let params = EndpointParams {
            base_url: Some("http://h".to_owned()),
            headers: vec![("x-mine".to_owned(), "1".to_owned())],
            ..EndpointParams::new(service)
        };
        let endpoint = Endpoint::new(params).expect("valid");
        let auth = endpoint.auth("hunter2").expect("a header");
        let Some(request) = endpoint.models_request(Some(&auth), 5) else {
            assert_eq!(service.name, "perplexity", "the only one without a list");
            continue;
        };
        assert_eq!(request.method, Method::GET);
        assert_eq!(request.headers.get(&auth.0), Some(&auth.1), "{}", service.name);
        assert_eq!(request.headers.get("x-mine").map(HeaderValue::as_bytes), Some(&b"1"[..]));
        assert!(!request.headers.contains_key(header::CONTENT_TYPE));
        assert!(!format!("{request:?}").contains("hunter2"));
        let public = ["openrouter", "openai-compatible", "ollama"].contains(&service.name);
        assert_eq!(request.proves_key, !public, "{}", service.name);
    }
}

#[test]
fn every_shape_of_a_list_is_read() {
    for (name, body, expected) in [
        ("openai", r#"{"object":"list","data":[{"id":"a"},{"id":"b","name":"B"}]}"#, &["a", "b"][..]),
        ("together", r#"[{"id":"a/b","type":"chat"},{"id":"c"}]"#, &["a/b", "c"]),
        (
            "gemini",
            r#"{"models":[{"name":"models/g-1"},{"name":"tunedModels/t"}],"nextPageToken":"t"}"#,
            &["g-1", "tunedModels/t"],
        ),
        ("cohere", r#"{"models":[{"name":"command-a"}]}"#, &["command-a"]),
        ("ollama", r#"{"models":[{"name":"llama3:8b","model":"llama3:8b"}]}"#, &["llama3:8b"]),
        // A path of llama.cpp is its name.
        ("openai-compatible", r#"{"models":[{"name":"x"}],"data":[{"id":"models/l.gguf"}]}"#, &["models/l.gguf"]),
        ("openai", r#"{"data":[]}"#, &[]),
        ("openai", r#"{"data":[{"id":"a"},{"x":1},7,null]}"#, &["a"]),
    ] {
        let names = endpoint(name, Some("http://h")).decode_models(body.as_bytes()).expect(body);
        assert_eq!(names, expected, "{name} {body}");
    }
}

#[test]
fn what_is_no_list_is_a_failure() {
    let openai = endpoint("openai", None);
    for (body, class) in [
        ("", FailureClass::BadReply),
        ("<html>", FailureClass::BadReply),
        ("{", FailureClass::BadReply),
        ("[", FailureClass::BadReply),
        ("null", FailureClass::BadReply),
        ("{}", FailureClass::BadReply),
        (r#"{"data":"none"}"#, FailureClass::BadReply),
        (r#"{"data":[{"x":1}]}"#, FailureClass::BadReply),
        (r#"{"error":{"message":"overloaded","code":503}}"#, FailureClass::Overloaded),
        (r#"[{"error":{"message":"x","status":"UNAUTHENTICATED","code":401}}]"#, FailureClass::Auth),
    ] {
        let failure = openai.decode_models(body.as_bytes()).expect_err(body);
        assert_eq!(failure.class, class, "{body}");
    }
}
