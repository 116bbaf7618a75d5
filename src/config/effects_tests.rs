//! For each key of the sections that decide who is asked and when: the test that shows what it does to a call. That a key
//! changes the configuration is no proof that anybody reads it.

use std::collections::BTreeSet;

use super::raw::{RawBreaker, RawHealth, RawProvider, RawQos, RawRetryBudget, RawRouting, RawTenant};

/// Section, file, and the test's name with the keys that it shows.
type Effects = (&'static str, &'static str, &'static [(&'static str, &'static [&'static str])]);

const EFFECTS: &[Effects] = &[
    ("providers", "src/engine/tests/explain.rs", &[("each_provider_says_what_is_against_it", &["enabled"])]),
    (
        "providers",
        "src/engine/tests/behaviours.rs",
        &[
            ("each_behaviour_shares_a_tier_in_its_own_way", &["name", "priority"]),
            ("a_weight_of_zero_is_asked_by_name_only", &["weight"]),
        ],
    ),
    ("providers", "src/engine/tests/tasks.rs", &[("a_provider_does_the_tasks_it_names_and_calls_of_none", &["tasks"])]),
    (
        "providers",
        "src/engine/tests/capabilities.rs",
        &[
            ("each_model_of_a_provider_counts_for_itself", &["model", "models"]),
            ("a_prompt_goes_where_it_surely_does_not_overflow", &["context_window"]),
            ("a_model_that_is_known_not_to_see_is_not_shown_an_image", &["capabilities"]),
        ],
    ),
    (
        "providers",
        "src/engine/tests/execute.rs",
        &[("it_is_asked_of_the_best_provider_with_its_model_key_and_address", &["api_key", "base_url"])],
    ),
    (
        "providers",
        "src/engine/tests/failover.rs",
        &[("every_key_of_a_provider_is_tried_before_the_next_provider", &["api_keys"])],
    ),
    ("providers", "__test__/config.test.mjs", &[("allow_http lets a private network be named", &["allow_http"])]),
    (
        "providers",
        "__test__/wire.test.mjs",
        &[
            ("openai: organization and project are headers", &["type", "organization", "project", "headers"]),
            (
                "azure: a deployment is in the path, its version in the query, the key in a header",
                &["deployment", "api_version"],
            ),
            ("unsupported_params: \"error\" refuses what would be left out, by name", &["unsupported_params"]),
            ("openai: fields of its own go through, extra_body goes over everything", &["extra_body"]),
        ],
    ),
    (
        "providers",
        "src/engine/tests/settings.rs",
        &[(
            "parameters_are_sent_or_left_out_as_the_configuration_knows_better",
            &["allow_params", "omit_params", "temperature"],
        )],
    ),
    (
        "providers",
        "src/engine/tests/tokens.rs",
        &[
            ("a_providers_own_bound_of_the_answer_is_reserved_where_a_call_sets_none", &["max_tokens"]),
            ("an_answer_counts_what_it_used", &["tokens_per_minute", "tokens_per_day"]),
        ],
    ),
    (
        "providers",
        "src/engine/tests/timers.rs",
        &[
            ("the_attempt_timer_ends_an_attempt", &["timeout"]),
            ("the_first_byte_timer_waits_for_the_head_only", &["first_byte_timeout_ms"]),
            ("the_first_content_timer_runs_from_the_sending_on", &["first_content_timeout_ms"]),
        ],
    ),
    (
        "providers",
        "src/engine/tests/keep_alive.rs",
        &[("the_content_idle_timer_is_not_fed_by_signs_of_life", &["content_idle_timeout_ms"])],
    ),
    (
        "providers",
        "__test__/network.test.mjs",
        &[
            ("is given up after connect_timeout_ms, while it shakes hands", &["connect_timeout_ms"]),
            (
                "an idle one is closed after connection_idle_timeout_ms, and none is kept at 0",
                &["connection_idle_timeout_ms"],
            ),
            ("the proxy setting tunnels to the upstream", &["proxy"]),
            ("ca_file makes it trusted, for that provider only", &["ca_file"]),
        ],
    ),
    (
        "providers",
        "__test__/health.test.mjs",
        &[
            ("max_connections bounds what is under way to a host", &["max_connections"]),
            ("warm opens one at the start, before any call", &["warm"]),
        ],
    ),
    (
        "providers",
        "__test__/limits.test.mjs",
        &[("the day has its own, and says when it is over", &["requests_per_day", "day_timezone"])],
    ),
    (
        "providers",
        "src/engine/tests/queue.rs",
        &[
            (
                "who_cannot_be_served_in_time_behind_the_others_is_told_so_at_once_with_its_own_time",
                &["requests_per_minute"],
            ),
            ("a_provider_of_no_slots_is_never_used_nor_waited_for", &["max_concurrent"]),
        ],
    ),
    (
        "providers",
        "src/engine/tests/breaker.rs",
        &[(
            "the_open_period_doubles_from_its_first_up_to_its_longest",
            &["circuit_breaker_threshold", "circuit_breaker_timeout"],
        )],
    ),
    (
        "providers",
        "__test__/cost.test.mjs",
        &[(
            "by configured prices takes nothing from the catalogue",
            &[
                "input_token_price",
                "output_token_price",
                "input_price_per_million",
                "output_price_per_million",
                "cached_input_price_per_million",
                "cache_write_price_per_million",
            ],
        )],
    ),
    (
        "providers",
        "src/engine/tests/budgets.rs",
        &[("a_provider_whose_budget_is_spent_is_skipped_and_says_when_it_begins_anew", &["budget"])],
    ),
    ("providers", "__test__/tokens.test.mjs", &[("are counted by a tokenizer.json", &["tokenizer"])]),
    ("routing", "src/engine/tests/behaviours.rs", &[("each_behaviour_shares_a_tier_in_its_own_way", &["behaviour"])]),
    (
        "routing",
        "src/engine/tests/settings.rs",
        &[(
            "a_retry_waits_for_its_delay_times_the_multiplier_and_no_longer_than_the_longest",
            &["max_retries", "retry_delay_ms", "backoff_multiplier", "max_backoff_ms"],
        )],
    ),
    (
        "routing",
        "__test__/attempts.test.mjs",
        &[
            (
                "enable_failover: false in the config does the same, unless the call says otherwise",
                &["enable_failover"],
            ),
            ("retries draw on the budget of the pool, and a refusal shows in the trail", &["retry_budget"]),
        ],
    ),
    (
        "routing",
        "src/engine/tests/breaker.rs",
        &[
            ("enable_circuit_breaker_false_is_no_breaker_anywhere", &["enable_circuit_breaker"]),
            ("failure_ratio_and_min_calls_say_when_a_share_is_too_much", &["breaker"]),
        ],
    ),
    (
        "routing",
        "src/engine/tests/queue.rs",
        &[
            ("the_pool_has_no_more_attempts_under_way_than_it_may_over_all_providers", &["max_concurrent"]),
            ("a_call_is_patient_for_as_long_as_it_is_told_and_then_says_what_it_waited_for", &["queue_timeout_ms"]),
            ("no_more_calls_wait_than_the_queue_may_hold", &["max_queue"]),
        ],
    ),
    (
        "routing",
        "src/engine/tests/refusals.rs",
        &[("refused_content_is_asked_elsewhere_where_that_is_configured", &["on_content_filter"])],
    ),
    (
        "routing",
        "__test__/health.test.mjs",
        &[(
            "holds for routing.error_cooldown_ms: 0 is no mark, null one that only clearError ends",
            &["error_cooldown_ms"],
        )],
    ),
    (
        "routing",
        "src/engine/tests/properties.rs",
        &[("the_same_seed_and_the_same_upstreams_give_the_same_decisions", &["seed"])],
    ),
    (
        "routing.retry_budget",
        "__test__/attempts.test.mjs",
        &[(
            "retries draw on the budget of the pool, and a refusal shows in the trail",
            &["ratio", "per_second", "burst"],
        )],
    ),
    (
        "routing.breaker",
        "src/engine/tests/breaker.rs",
        &[
            ("failure_ratio_and_min_calls_say_when_a_share_is_too_much", &["failure_ratio", "min_calls"]),
            ("window_s_says_how_far_back_the_share_looks", &["window_s"]),
            ("the_open_period_doubles_from_its_first_up_to_its_longest", &["max_open_ms"]),
        ],
    ),
    (
        "qos",
        "src/engine/tests/settings.rs",
        &[("no_call_is_given_more_than_the_longest_deadline", &["max_deadline_ms"])],
    ),
    (
        "qos",
        "src/engine/tests/hedge.rs",
        &[
            ("without_the_setting_or_before_its_time_nothing_is_sent_twice", &["hedge", "hedge_after_ms"]),
            ("copies_are_one_in_twenty_calls_and_a_burst_of_two", &["hedge_budget"]),
        ],
    ),
    ("qos", "__test__/bad-input.test.mjs", &[("a prompt over qos.max_prompt_bytes is refused", &["max_prompt_bytes"])]),
    (
        "qos",
        "__test__/network.test.mjs",
        &[("one that announces more than qos.max_response_bytes is a failure", &["max_response_bytes"])],
    ),
    (
        "health",
        "src/engine/tests/health.rs",
        &[
            ("upkeep_checks_every_interval_until_the_pool_closes", &["active", "interval_ms"]),
            ("a_check_that_gets_no_answer_fails_at_its_timeout", &["timeout_ms"]),
            ("so_many_failures_in_a_row_as_configured", &["failures"]),
        ],
    ),
    (
        "tenants",
        "src/engine/tests/tenants.rs",
        &[
            ("a_burst_comes_in_and_then_as_many_as_a_second_has", &["id", "rps", "burst"]),
            ("tokens_of_the_day_are_set_aside_before_a_request_goes_out", &["tokens_per_day"]),
            ("a_budget_that_is_spent_ends_the_calls_of_its_tenant_alone", &["budget"]),
            ("a_tenant_does_its_tasks_and_nothing_else", &["tasks"]),
            ("a_tenant_is_answered_by_its_models_and_by_no_other", &["models"]),
            ("a_tenant_is_switched_off_and_on_by_a_reload", &["enabled"]),
            ("no_call_of_a_tenant_is_given_more_than_its_longest_deadline", &["max_deadline_ms"]),
            ("a_call_of_a_tenant_asks_no_more_providers_at_once_than_it_may", &["max_parallel"]),
        ],
    ),
    (
        "tenants",
        "__test__/gateway-tenants.test.mjs",
        &[("a key says whose call it is, and nobody else does", &["api_keys"])],
    ),
];

#[test]
fn every_key_of_traffic_has_a_test_of_its_effect() {
    let sections: [(&str, &[&str]); 7] = [
        ("providers", RawProvider::KEYS),
        ("routing", RawRouting::KEYS),
        ("routing.retry_budget", RawRetryBudget::KEYS),
        ("routing.breaker", RawBreaker::KEYS),
        ("qos", RawQos::KEYS),
        ("health", RawHealth::KEYS),
        ("tenants", RawTenant::KEYS),
    ];
    let path = |section: &str, key: &str| format!("{section}.{key}");
    let known = sections.iter().flat_map(|(section, keys)| keys.iter().map(move |key| path(section, key)));
    let shown = EFFECTS.iter().flat_map(|(section, _, tests)| {
        tests.iter().flat_map(move |(_, keys)| keys.iter().map(move |key| path(section, key)))
    });
    let (known, shown): (BTreeSet<_>, BTreeSet<_>) = (known.collect(), shown.collect());
    let missing: Vec<_> = known.symmetric_difference(&shown).collect();
    assert!(missing.is_empty(), "without a test of their effect, or no keys any more: {missing:?}");
    for (_, file, tests) in EFFECTS {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).expect("a file of tests");
        for (name, _) in *tests {
            let (of_rust, of_js) = (format!("fn {name}("), format!("('{name}'"));
            assert!(text.contains(&of_rust) || text.contains(&of_js), "{file} has no test {name:?}");
        }
    }
}
