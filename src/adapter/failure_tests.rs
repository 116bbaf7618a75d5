use http::HeaderValue;

use super::*;

fn reply(status: u16, body: &str) -> Failure {
    let status = StatusCode::from_u16(status).expect("status");
    of_reply(&Rows::default(), status, &HeaderMap::new(), body.as_bytes(), 0)
}

fn class(status: u16, body: &str) -> FailureClass {
    reply(status, body).class
}

fn openai(message: &str, kind: &str, code: &str) -> String {
    serde_json::json!({ "error": { "message": message, "type": kind, "code": code, "param": null } }).to_string()
}

fn message(message: &str) -> String {
    serde_json::json!({ "error": { "message": message } }).to_string()
}

#[test]
fn an_empty_account_is_no_rate_limit() {
    for (status, body) in [
        (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
        (429, message("You exceeded your current quota, please check your plan and billing details.")),
        (402, "{}".to_owned()),
        (402, String::new()),
        (400, message("Your credit balance is too low to access the Anthropic API.")),
        (400, message("You have reached your specified API usage limits.")),
        (403, message("Key limit exceeded (total limit)")),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"contract_spend_limit_reached"}}}"#.to_owned()),
        (412, openai("Account is suspended", "error", "PRECONDITION_FAILED")),
        (429, message("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day")),
        (429, message("Rate limit reached for model `x` on tokens per day (TPD): Limit 100000. Please try again in 7m12s.")),
        (429, message("You are using a Trial key, which is limited to 1000 API calls / month.")),
        (429, r#"{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]},{"retryDelay":"38s"}]}}"#.to_owned()),
    ] {
        assert_eq!(class(status, &body), QuotaExhausted, "{status} {body}");
    }
}

#[test]
fn a_short_window_is_a_rate_limit_whatever_it_advertises() {
    for body in [
        openai("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000", "tokens", "rate_limit_exceeded"),
        message("Rate limit exceeded: free-models-per-min. Add 10 credits to unlock 1000 requests per day"),
        message("You are using a Trial key, which is limited to 10 API calls / minute."),
        message("Too many tokens, please wait before trying again."),
        message("This request would exceed your organization rate limit of 50 requests per minute."),
        r#"{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProject"}]}]}}"#.to_owned(),
        r#"[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]"#.to_owned(),
        openai("m", "rate_limited", "1300"),
        "error code: 1015".to_owned(),
        String::new(),
    ] {
        assert_eq!(class(429, &body), RateLimit, "{body}");
    }
}

#[test]
fn a_request_that_never_fits_is_no_rate_limit() {
    let too_large = "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 8000";
    assert_eq!(class(429, &openai(too_large, "tokens", "rate_limit_exceeded")), RequestTooLarge);
    assert_eq!(class(413, &openai(too_large, "tokens", "rate_limit_exceeded")), RequestTooLarge);
    assert_eq!(class(413, "<html><h1>413 Request Entity Too Large</h1></html>"), RequestTooLarge);
    assert_eq!(class(413, ""), RequestTooLarge);
}

#[test]
fn a_prompt_that_is_too_long_is_found_by_code_or_words() {
    for (status, body) in [
        (400, openai("m", "invalid_request_error", "context_length_exceeded")),
        (400, r#"{"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_ctx":8192}}"#.to_owned()),
        (400, r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#.to_owned()),
        (403, message("Input token count + max_tokens exceeds the context length of the model.")),
        (422, r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"}"#.to_owned()),
        (400, message("prompt is too long: 210000 tokens > 200000 maximum")),
        (400, message("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000")),
        (400, r#"{"message":"too many tokens: size limit exceeded by 1204 tokens."}"#.to_owned()),
        (400, message("Your input exceeds the context window of this model.")),
    ] {
        assert_eq!(class(status, &body), ContextLength, "{status} {body}");
    }
    assert_eq!(class(400, &openai("maximum context length", "x", "string_above_max_length")), InvalidRequest);
}

#[test]
fn a_400_may_be_the_keys_or_the_providers_fault() {
    for (body, expected) in [
        (r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: t***1."}"#, Auth),
        (
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            Auth,
        ),
        (
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
            Permission,
        ),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m","details":{"error_code":"organization_on_hold"}}}"#,
            Permission,
        ),
        (r#"{"object":"error","message":"Invalid model: none","type":"invalid_model","code":"1500"}"#, ModelNotFound),
        (r#"{"error":{"message":"invalid model ID","type":"invalid_request_error"}}"#, ModelNotFound),
        (
            r#"{"error":{"message":"The model `x` has been decommissioned","code":"model_decommissioned"}}"#,
            ModelNotFound,
        ),
        (r#"{"error":"registry.ollama.ai/library/gemma3:latest does not support tools"}"#, Unsupported),
        (r#"{"error":{"code":400,"message":"No endpoints found that support tool use"}}"#, Unsupported),
        (
            r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","code":400}}"#,
            Unsupported,
        ),
        (
            r#"{"object":"error","message":"Image input is not enabled for this model","type":"invalid_request_error"}"#,
            Unsupported,
        ),
        (r#"{"error":{"message":"m","code":"tool_use_failed","failed_generation":"<x>"}}"#, ModelOutputInvalid),
        (r#"{"error":{"message":"m","code":"json_validate_failed"}}"#, ModelOutputInvalid),
        ("<html><h1>400 Bad Request</h1></html>", ServerError),
    ] {
        assert_eq!(class(400, body), expected, "{body}");
    }
}

#[test]
fn a_400_about_the_request_is_the_callers_fault() {
    for body in [
        openai("Unsupported parameter: 'max_tokens'", "invalid_request_error", "unsupported_parameter"),
        message("messages.0.content: Field required"),
        r#"{"detail":[{"loc":["body","messages"],"msg":"Field required","type":"missing"}]}"#.to_owned(),
        message("max_tokens is too large: 5000. This model supports at most 4096 completion tokens"),
        message("Unexpected or invalid token in JSON at position 4"),
        String::new(),
    ] {
        assert_eq!(class(400, &body), InvalidRequest, "{body}");
        assert_eq!(class(422, &body), InvalidRequest, "{body}");
    }
}

#[test]
fn refused_content_is_told_from_refused_keys() {
    assert_eq!(class(400, &openai("m", "", "content_filter")), ContentFilter);
    let azure = r#"{"error":{"message":"m","code":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
    assert_eq!(class(400, azure), ContentFilter);
    let router = r#"{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"]}}}"#;
    assert_eq!(class(403, router), ContentFilter);
    assert_eq!(class(403, &message("forbidden")), Permission);
}

#[test]
fn capacity_and_loading_are_not_the_same() {
    assert_eq!(class(503, &message("Loading model")), ModelLoading);
    assert_eq!(class(503, r#"{"error":"Model x is currently loading","estimated_time":20}"#), ModelLoading);
    assert_eq!(class(503, &message("Service Unavailable")), Overloaded);
    assert_eq!(
        class(498, &openai("Flex tier capacity exceeded.", "invalid_request_error", "capacity_exceeded")),
        Overloaded
    );
    assert_eq!(class(498, r#"{"message":"invalid token"}"#), Auth);
    assert_eq!(class(429, &openai("m", "service_tier_capacity_exceeded", "3505")), Overloaded);
    assert_eq!(class(529, &message("Overloaded")), Overloaded);
}

#[test]
fn a_server_status_outweighs_a_vague_type() {
    assert_eq!(class(500, &openai("Server Error", "invalid_request_error", "invalid_request_error")), ServerError);
    assert_eq!(class(500, &message("too many tokens in the queue, invalid api key")), ServerError);
    assert_eq!(class(503, &openai("m", "internal_server_error", "1000")), Overloaded);
}

#[test]
fn every_status_has_a_class() {
    for (status, expected) in [
        (302, BadReply),
        (307, BadReply),
        (400, InvalidRequest),
        (401, Auth),
        (402, QuotaExhausted),
        (403, Permission),
        (404, ModelNotFound),
        (405, ModelNotFound),
        (407, Network),
        (408, Timeout),
        (409, ServerError),
        (413, RequestTooLarge),
        (418, InvalidRequest),
        (422, InvalidRequest),
        (424, ServerError),
        (429, RateLimit),
        (451, Permission),
        (498, Overloaded),
        (499, ServerError),
        (500, ServerError),
        (502, ServerError),
        (503, Overloaded),
        (504, Timeout),
        (522, ServerError),
        (524, ServerError),
        (529, Overloaded),
        (599, ServerError),
    ] {
        assert_eq!(class(status, ""), expected, "{status}");
        if status != 400 && status != 418 && status != 422 {
            assert_eq!(class(status, "<html></html>"), expected, "{status}");
        }
    }
}

#[test]
fn an_error_without_a_status_is_classified_by_what_it_says() {
    for (body, expected) in [
        (r#"{"error":{"message":"m","type":"server_error","code":null}}"#, ServerError),
        (
            r#"{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}"#,
            ServerError,
        ),
        (r#"{"error":{"message":"m","code":429}}"#, RateLimit),
        (r#"{"error":{"message":"m","type":"rate_limit_error"}}"#, RateLimit),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
        (
            r#"{"code":"The service is currently unavailable","error":"The model is temporarily at capacity."}"#,
            Overloaded,
        ),
        (r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, InvalidRequest),
        (r#"{"error":{"message":"m","code":"tool_use_failed"}}"#, ModelOutputInvalid),
        (r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, ContextLength),
        (r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#, Overloaded),
        (r#"{"error":"something"}"#, ServerError),
    ] {
        assert_eq!(in_band(body.as_bytes()).class, expected, "{body}");
    }
}

#[test]
fn an_error_in_a_stream_says_its_code_and_its_wait() {
    let failure = in_band(br#"{"error":{"message":"Slow down, try again in 4.5s.","code":"Rate_Limit_Exceeded"}}"#);
    assert_eq!(failure.code.as_deref(), Some("Rate_Limit_Exceeded"));
    assert_eq!(failure.retry_after, Some(std::time::Duration::from_millis(4500)));
}

#[test]
fn google_says_quota_of_a_minute_too() {
    let quota = |kind: &str| {
        serde_json::json!({ "error": { "message": "You exceeded your current quota.", "status": kind } }).to_string()
    };
    assert_eq!(class(429, &quota("RESOURCE_EXHAUSTED")), RateLimit);
    assert_eq!(class(429, &quota("TOO_MANY")), QuotaExhausted);
}

#[test]
fn the_providers_word_on_retrying_is_kept() {
    for (header, expected) in [("true", Some(true)), ("false", Some(false)), ("perhaps", None)] {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static("x-should-retry"), HeaderValue::from_static(header))]);
        let failure = of_reply(&Rows::default(), StatusCode::INTERNAL_SERVER_ERROR, &headers, b"", 0);
        assert_eq!(failure.should_retry, expected);
    }
}

#[test]
fn the_wait_comes_from_headers_body_or_words() {
    const NOW: u64 = 1_795_300_000_000;
    let hint = |headers: &[(&'static str, &'static str)], body: &str| {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let failure = of_reply(&Rows::default(), StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes(), NOW);
        failure.retry_after.map(|wait| wait.as_secs_f64())
    };
    assert_eq!(hint(&[("retry-after", "13")], &message("Please retry after 20 seconds.")), Some(13.0));
    assert_eq!(hint(&[], &message("Please retry after 20 seconds.")), Some(20.0));
    let router = r#"{"error":{"code":429,"message":"m","metadata":{"headers":{"X-RateLimit-Reset":"1795300042000"}}}}"#;
    assert_eq!(hint(&[], router), Some(42.0));
    let google = r#"{"error":{"code":429,"message":"m","details":[{"retryDelay":"45.5s"}]}}"#;
    assert_eq!(hint(&[], google), Some(45.5));
    let day = r#"{"error":{"code":429,"message":"m","details":[{"violations":[{"quotaId":"XPerDay"}]},{"retryDelay":"38s"}]}}"#;
    assert_eq!(hint(&[], day), None);
    assert_eq!(hint(&[], ""), None);
}

#[test]
fn messages_are_the_providers_and_bounded() {
    assert_eq!(reply(500, &message("Oh no")).message, "Oh no");
    assert_eq!(reply(502, "<html>bad</html>").message, "HTTP 502: <html>bad</html>");
    assert_eq!(reply(500, " ").message, "HTTP 500, and an empty body");
    assert!(reply(307, "").message.contains("redirects"));
    let long = reply(500, &message(&"é".repeat(5000)));
    assert!(long.message.len() <= MAX_MESSAGE + 3 && long.message.ends_with('…'));
    assert!(reply(500, &"é".repeat(5000)).message.len() <= MAX_MESSAGE + 3);
    assert_eq!(reply(401, &openai("m", "t", "invalid_api_key")).code.as_deref(), Some("invalid_api_key"));
    assert_eq!(reply(401, "x").status, Some(401));
}

#[test]
fn wild_bodies_are_classified_by_their_status() {
    let deep = "[".repeat(1_000_000);
    for body in [&b"\xFF\xFE\x00"[..], b"{\"error\":", b"null", b"[]", b"{}", deep.as_bytes()] {
        let failure = of_reply(&Rows::default(), StatusCode::BAD_GATEWAY, &HeaderMap::new(), body, 0);
        assert_eq!((failure.class, failure.status), (ServerError, Some(502)));
    }
}

#[test]
fn transport_errors_have_a_class() {
    for (kind, expected) in [
        (TransportErrorKind::Connect, Network),
        (TransportErrorKind::ConnectTimeout, Timeout),
        (TransportErrorKind::Tls, Network),
        (TransportErrorKind::Reset, Network),
        (TransportErrorKind::Body, Network),
        (TransportErrorKind::TooLarge, BadReply),
        (TransportErrorKind::Request, InvalidRequest),
    ] {
        let failure = transport_failure(&TransportError::new(kind, "m"));
        assert_eq!((failure.class, failure.message.as_str()), (expected, "m"));
        assert_eq!(failure.phase, if kind == TransportErrorKind::ConnectTimeout { Some(Phase::Connect) } else { None });
    }
}
