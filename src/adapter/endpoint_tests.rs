use super::super::service;
use super::*;

fn params(name: &str) -> EndpointParams {
    EndpointParams {
        base_url: Some("https://example.org".to_owned()),
        ..EndpointParams::new(service(name).expect("known"))
    }
}

fn with_header(name: &str, value: &str) -> EndpointParams {
    EndpointParams { headers: vec![(name.to_owned(), value.to_owned())], ..params("openai") }
}

#[test]
fn endpoints_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Endpoint>();
    shared::<StreamDecoder>();
}

#[test]
fn keys_go_where_each_service_looks_and_are_sensitive() {
    for (name, header, value) in
        [("groq", "authorization", "Bearer k"), ("anthropic", "x-api-key", "k"), ("azure", "api-key", "k")]
    {
        let (found, sent) = Endpoint::new(params(name)).expect("valid").auth("k").expect("a key");
        assert_eq!((found.as_str(), sent.to_str().expect("text")), (header, value));
        assert!(sent.is_sensitive());
    }
    let error = Endpoint::new(params("openai")).expect("valid").auth("sk-hunter2\n").expect_err("a line end");
    assert_eq!(error.field, "api_key");
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn static_headers_are_there_and_configured_ones_win() {
    let endpoint = Endpoint::new(params("anthropic")).expect("valid");
    assert_eq!(endpoint.headers()["content-type"], "application/json");
    assert_eq!(endpoint.headers()["user-agent"], USER_AGENT);
    assert_eq!(endpoint.headers()["anthropic-version"], "2023-06-01");
    let newer = EndpointParams {
        service: service("anthropic").expect("known"),
        ..with_header("Anthropic-Version", "2026-10-21")
    };
    assert_eq!(Endpoint::new(newer).expect("valid").headers()["anthropic-version"], "2026-10-21");
}

#[test]
fn a_configured_header_is_a_secret_unless_it_is_known_not_to_be() {
    let endpoint = Endpoint::new(with_header("X-Gateway", "hunter2")).expect("valid");
    assert!(endpoint.headers()["x-gateway"].is_sensitive());
    let endpoint = Endpoint::new(with_header("X-Title", "app")).expect("valid");
    assert!(!endpoint.headers()["x-title"].is_sensitive());
}

#[test]
fn headers_that_would_break_the_request_are_refused_without_their_values() {
    for (name, value) in [
        ("Content-Length", "3"),
        ("transfer-encoding", "chunked"),
        ("bad name", "x"),
        ("", "x"),
        ("x-a", "hunter2\r\nx-b: 1"),
    ] {
        let error = Endpoint::new(with_header(name, value)).expect_err(name);
        assert_eq!(error.field, "headers");
        assert!(!error.message.contains("hunter2"));
    }
}

#[test]
fn organisation_and_project_need_a_header() {
    let both = |name: &str| EndpointParams {
        organization: Some("org".to_owned()),
        project: Some("proj".to_owned()),
        ..params(name)
    };
    let endpoint = Endpoint::new(both("openai")).expect("valid");
    assert_eq!(endpoint.headers()["openai-organization"], "org");
    assert_eq!(endpoint.headers()["openai-project"], "proj");
    for name in ["anthropic", "groq", "together"] {
        assert_eq!(Endpoint::new(both(name)).expect_err(name).field, "organization");
    }
}

#[test]
fn an_endpoint_prints_no_secrets() {
    let mut params = with_header("x-gateway", "hunter2");
    params.base_url = Some("https://example.org/v1?key=hunter2".to_owned());
    let printed = format!("{:?}", Endpoint::new(params).expect("valid"));
    assert!(printed.contains("example.org") && !printed.contains("hunter2"), "{printed}");
}
