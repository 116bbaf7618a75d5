use proptest::prelude::*;

use super::*;

fn said(schema: Value, rules: &Rules) -> (Value, String) {
    let Converted { schema, changes, .. } = converted(&schema, rules).unwrap_or_else(|why| panic!("{schema}: {why}"));
    (schema, changes)
}

fn unsaid(schema: Value, rules: &Rules) -> String {
    match converted(&schema, rules) {
        Ok(Converted { schema, .. }) => panic!("said as {schema}"),
        Err(why) => why,
    }
}

const DIALECTS: &[&Rules] = &[
    &ANY,
    &OPENAI,
    &STRICT,
    &AZURE_STRICT,
    &ANTHROPIC,
    &GEMINI,
    &COHERE,
    &MISTRAL,
    &XAI,
    &FIREWORKS,
    &PERPLEXITY,
    &OLLAMA,
];

#[test]
fn a_schema_that_every_dialect_takes_is_left_as_it_is() {
    let schema = json!({
        "type": "object", "description": "d", "required": ["a", "b"], "additionalProperties": false,
        "properties": {
            "a": { "type": "string", "enum": ["x", "y"], "description": "e" },
            "b": { "type": "array", "items": { "$ref": "#/$defs/c" } },
        },
        "$defs": { "c": { "type": "object", "properties": { "n": { "type": ["number", "null"] } }, "required": ["n"],
            "additionalProperties": false } },
    });
    for rules in DIALECTS {
        assert_eq!(said(schema.clone(), rules), (schema.clone(), String::new()), "{rules:?}");
    }
}

#[test]
fn strict_closes_every_object_and_requires_every_property() {
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {
            "a": { "type": "object", "properties": { "x": { "type": "integer" } } },
            "b": { "enum": ["u", "v"] },
            "c": { "$ref": "#/definitions/d" },
            "e": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
        },
        "definitions": { "d": { "type": "array", "items": { "type": "string", "minLength": 1, "format": "uri" } } },
    });
    let (sent, changes) = said(schema, &STRICT);
    assert_eq!(
        sent,
        json!({
            "type": "object", "required": ["a", "b", "c", "e"], "additionalProperties": false,
            "properties": {
                "a": { "type": "object", "properties": { "x": { "type": ["integer", "null"] } }, "required": ["x"],
                    "additionalProperties": false },
                "b": { "type": ["string", "null"], "enum": ["u", "v", null] },
                "c": { "anyOf": [{ "$ref": "#/definitions/d" }, { "type": "null" }] },
                "e": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            },
            "definitions": { "d": { "type": "array", "items": { "type": "string", "minLength": 1,
                "description": "Fits {\"format\":\"uri\"}." } } },
        })
    );
    for change in [
        "null where it is absent (/a/x, /b, /c and 1 more)",
        "no further properties (/a, /)",
        "format is said in the description (/definitions/d/items)",
        "the type is said (/b)",
    ] {
        assert!(changes.contains(change), "{change}: {changes}");
    }
}

#[test]
fn a_bound_that_a_dialect_has_no_word_for_is_said_in_the_description() {
    let number = |more: Value| {
        let mut number = json!({ "type": "number" });
        number.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        json!({ "type": "object", "properties": { "n": number }, "required": ["n"], "additionalProperties": false })
    };
    let (sent, changes) = said(number(json!({ "minimum": 1, "description": "How many." })), &ANTHROPIC);
    assert_eq!(sent, number(json!({ "description": "How many.\n\nFits {\"minimum\":1} as well." })));
    assert_eq!(changes, "minimum is said in the description (/n)");
    assert_eq!(said(number(json!({ "minimum": 1 })), &GEMINI).1, "");
    assert_eq!(said(number(json!({ "minimum": 1 })), &STRICT).1, "");
    assert_eq!(said(number(json!({ "minimum": 1 })), &AZURE_STRICT).1, "minimum is said in the description (/n)");
    assert_eq!(
        said(number(json!({ "examples": [1] })), &COHERE),
        (number(json!({})), "examples is left out (/n)".into())
    );
}

#[test]
fn what_a_dialect_has_another_word_for_is_said_in_that() {
    let of = |property: Value| json!({ "type": "object", "properties": { "p": property }, "required": ["p"] });
    let (sent, changes) = said(of(json!({ "oneOf": [{ "const": 1 }, { "type": "null" }] })), &GEMINI);
    assert_eq!(sent, of(json!({ "oneOf": [{ "enum": [1] }, { "type": "null" }] })));
    assert_eq!(changes, "const as enum (/p/oneOf/0)");
    let (sent, _) = said(of(json!({ "oneOf": [{ "const": 1 }] })), &FIREWORKS);
    assert_eq!(sent, of(json!({ "anyOf": [{ "const": 1 }] })));
    let (sent, changes) =
        said(json!({ "$ref": "#/definitions/a", "definitions": { "a": { "type": "string" } } }), &GEMINI);
    assert_eq!(sent, json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } }));
    assert_eq!(changes, "definitions as $defs (/)");
    let tuple = of(json!({ "type": "array", "items": [{ "type": "string" }, true] }));
    assert_eq!(said(tuple.clone(), &XAI).0["properties"]["p"]["prefixItems"], json!([{ "type": "string" }, {}]));
    assert!(unsaid(tuple, &STRICT).contains("a list of anything"));
}

#[test]
fn values_of_keywords_decide_as_well() {
    let text = |more: &str, value: Value| {
        json!({ "type": "object", "properties": { "s": { "type": "string", more: value } },
        "required": ["s"], "additionalProperties": false })
    };
    for (rules, more, value, kept) in [
        (&OLLAMA, "pattern", json!("^a$"), true),
        (&OLLAMA, "pattern", json!("a"), false),
        (&COHERE, "pattern", json!("a+"), true),
        (&COHERE, "pattern", json!("^a$"), false),
        (&COHERE, "format", json!("uuid"), true),
        (&COHERE, "format", json!("email"), false),
        (&ANTHROPIC, "format", json!("uri"), true),
        (&STRICT, "format", json!("uri"), false),
    ] {
        let (sent, changes) = said(text(more, value.clone()), rules);
        assert_eq!(sent["properties"]["s"].get(more).is_some(), kept, "{rules:?} {value}");
        assert_eq!(changes.is_empty(), kept, "{changes}");
    }
    let list = |least: u64| json!({ "type": "array", "items": { "type": "string" }, "minItems": least });
    let of = |schema: Value| json!({ "type": "object", "properties": { "l": schema }, "required": ["l"] });
    assert_eq!(said(of(list(1)), &ANTHROPIC).0["properties"]["l"]["minItems"], 1);
    assert_eq!(said(of(list(2)), &ANTHROPIC).0["properties"]["l"].get("minItems"), None);
}

#[test]
fn what_would_mean_something_else_is_not_said() {
    let of = |property: Value| json!({ "type": "object", "properties": { "p": property }, "required": ["p"] });
    let map = of(json!({ "type": "object", "additionalProperties": { "type": "number" } }));
    let tree = json!({ "type": "object", "properties": { "next": { "$ref": "#" } }, "required": ["next"] });
    let mutual = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/a" } }, "required": ["a"], "$defs": {
        "a": { "type": "array", "items": { "$ref": "#/$defs/b" } }, "b": { "type": "array", "items": { "$ref": "#/$defs/a" } } } });
    let half_said = json!({ "type": "object", "properties": { "p": { "type": "string" } }, "required": ["p", "q"] });
    for (schema, rules, why) in [
        (map.clone(), &STRICT, "/p with properties of any name"),
        (map.clone(), &ANTHROPIC, "/p with properties of any name"),
        (map.clone(), &PERPLEXITY, "/p with properties of any name"),
        (of(json!({ "type": "object", "patternProperties": { "x": {} } })), &STRICT, "/p with properties of any name"),
        (of(json!({})), &ANTHROPIC, "/p that may be anything"),
        (of(json!(true)), &STRICT, "/p that may be anything"),
        (of(json!(false)), &GEMINI, "/p that nothing fits"),
        (of(json!({ "type": "array" })), &STRICT, "/p that is a list of anything"),
        (half_said.clone(), &STRICT, "an answer that requires \"q\" and does not say what it is"),
        (half_said.clone(), &ANTHROPIC, "an answer that requires \"q\" and does not say what it is"),
        (tree.clone(), &ANTHROPIC, "a schema that refers to itself"),
        (mutual.clone(), &PERPLEXITY, "a schema that refers to itself"),
        (
            json!({ "type": "object", "properties": { "p": { "type": "string" } } }),
            &COHERE,
            "an answer of which nothing is required",
        ),
    ] {
        assert_eq!(unsaid(schema, rules), why);
    }
    for (schema, rules) in [(map, &GEMINI), (half_said, &OPENAI), (tree, &STRICT), (mutual, &GEMINI)] {
        assert!(converted(&schema, rules).is_ok(), "{schema}");
    }
}

#[test]
fn an_answer_that_is_no_object_stands_in_one() {
    let list = json!({ "type": "array", "items": { "$ref": "#/$defs/a" }, "$defs": { "a": { "anyOf": [{ "type": "string" },
        { "type": "array", "items": { "$ref": "#" } }] } } });
    let Converted { schema, form, changes } = converted(&list, &STRICT).expect("said");
    assert_eq!(
        schema,
        json!({ "type": "object", "required": ["value"], "additionalProperties": false,
            "properties": { "value": { "type": "array", "items": { "$ref": "#/$defs/a" } } },
            "$defs": { "a": { "anyOf": [{ "type": "string" },
                { "type": "array", "items": { "$ref": "#/properties/value" } }] } } })
    );
    assert_eq!(changes, "the answer stands in the property \"value\" of an object (/)");
    assert_eq!(form.value(&list, json!({ "value": ["x"] })), (json!(["x"]), true));
    // A model may answer without the box all the same.
    assert_eq!(form.value(&list, json!(["x"])), (json!(["x"]), false));
    assert_eq!(said(list.clone(), &GEMINI).0, list);

    let named = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "object", "properties": { "x": { "type": "string" } },
        "required": ["x"], "additionalProperties": false } } });
    let (sent, changes) = said(named, &OPENAI);
    assert_eq!((&sent["type"], &sent["required"]), (&json!("object"), &json!(["x"])));
    assert_eq!(changes, "the reference at the root is followed (/)");
    assert!(unsaid(json!(true), &OPENAI).contains("anything"));
    assert!(said(json!({ "$ref": "#" }), &OPENAI).1.contains("stands in"));
}

fn turned(schema: &Value, answer: Value) -> Value {
    let form = AnswerForm { nulls: true, ..AnswerForm::default() };
    form.value(schema, answer).0
}

#[test]
fn nulls_that_were_added_are_taken_out_and_no_others() {
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {
            "a": { "type": ["string", "null"] },
            "b": { "type": "string" },
            "c": { "type": ["string", "null"] },
            "d": { "enum": ["x", null] },
            "e": { "$ref": "#/$defs/e" },
            "f": { "type": "array", "items": { "$ref": "#/$defs/e" } },
            "g": { "anyOf": [
                { "type": "object", "properties": { "kind": { "const": "p" }, "v": { "type": "string" } }, "required": ["kind"] },
                { "type": "object", "properties": { "kind": { "const": "q" }, "v": { "type": "null" } }, "required": ["kind"] },
            ] },
            "h": true,
        },
        "$defs": { "e": { "type": "object", "properties": { "x": { "type": "number" }, "y": { "type": "null" } } } },
    });
    let answer = json!({ "a": null, "b": null, "c": null, "d": null, "e": { "x": null, "y": null },
        "f": [{ "x": 1, "y": null }, { "x": null, "y": null }], "g": { "kind": "p", "v": null }, "h": null, "z": null });
    let expected = json!({ "a": null, "c": null, "d": null, "e": { "y": null }, "f": [{ "x": 1, "y": null }, { "y": null }],
        "g": { "kind": "p" }, "h": null, "z": null });
    assert_eq!(turned(&schema, answer.clone()), expected);
    let kept = json!({ "a": "s", "g": { "kind": "q", "v": null } });
    let form = AnswerForm { nulls: true, ..AnswerForm::default() };
    assert_eq!(form.value(&schema, kept.clone()), (kept, false));
    assert_eq!(AnswerForm::default().value(&schema, answer.clone()), (answer, false));
}

#[test]
fn what_fits_a_converted_schema_fits_the_source_once_it_is_turned_back() {
    // Optional and nested, with a bound that Azure has no word for.
    let source = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer", "minimum": 1 },
        "b": { "type": "string" }, "c": { "type": "array", "items": { "type": "object", "properties": { "d": { "type": "boolean" } } } } } });
    for rules in [&STRICT, &AZURE_STRICT] {
        let Converted { schema, form, .. } = converted(&source, rules).expect("said");
        let (sent, own) = (jsonschema::validator_for(&schema).unwrap(), jsonschema::validator_for(&source).unwrap());
        for answer in [
            json!({ "a": 1, "b": null, "c": null }),
            json!({ "a": 2, "b": "x", "c": [] }),
            json!({ "a": 3, "b": null, "c": [{ "d": null }, { "d": true }] }),
        ] {
            assert!(sent.is_valid(&answer), "{answer}");
            let (back, _) = form.value(&source, answer);
            assert!(own.is_valid(&back), "{back}");
        }
    }
}

#[test]
fn the_arguments_of_the_tool_are_what_was_said() {
    use crate::types::{FinishReason, Reply, StreamEvent, ToolCall, ToolCallDelta};
    let form = AnswerForm { tool: true, ..AnswerForm::default() };
    let call = |arguments: &str| ToolCall::function("c", "answer", arguments);
    let reply = |tool_calls: Vec<ToolCall>, finish_reason| Reply {
        content: "Sure.".to_owned(),
        tool_calls,
        finish_reason,
        raw_finish_reason: Some("tool_use".to_owned()),
        ..Reply::default()
    };
    let turned = form.reply(reply(vec![call("{\"a\":1}"), call("{}")], FinishReason::ToolCalls));
    assert_eq!((turned.content.as_str(), turned.tool_calls.len()), ("{\"a\":1}", 0));
    assert_eq!((turned.finish_reason, turned.raw_finish_reason.as_deref()), (FinishReason::Stop, Some("tool_use")));
    assert_eq!(form.reply(reply(vec![call("{")], FinishReason::Length)).finish_reason, FinishReason::Length);
    // It said something instead of calling.
    assert_eq!(form.reply(reply(Vec::new(), FinishReason::Stop)).content, "Sure.");
    let plain = AnswerForm::default();
    assert_eq!(plain.reply(reply(vec![call("{}")], FinishReason::ToolCalls)).tool_calls.len(), 1);

    let delta = |index, arguments: &str| {
        StreamEvent::ToolCall(ToolCallDelta { index, arguments: arguments.to_owned(), ..ToolCallDelta::default() })
    };
    let finish = |reason| StreamEvent::Finish { reason, raw: None };
    let text = |said: &str| StreamEvent::Text(said.to_owned());
    let turned = |form, events: Vec<StreamEvent>| {
        let (mut turning, mut left) = (Turning::of(form), Vec::new());
        events.into_iter().for_each(|event| turning.event(event, |event| left.push(event)));
        turning.end(|event| left.push(event));
        left
    };
    let called = vec![delta(0, ""), delta(0, "{\"a\""), delta(1, "{}"), finish(FinishReason::ToolCalls)];
    assert_eq!(turned(form, called.clone()), [text("{\"a\""), finish(FinishReason::Stop)]);
    assert_eq!(turned(plain, called.clone()), called);
    // Words around the call are not in the answer of a call that does not stream either.
    let around = [vec![text("Sure, "), text("here: ")], called[..2].to_vec(), vec![text("Done.")]].concat();
    assert_eq!(turned(form, around), [text("{\"a\"")]);
    let words = vec![text("Su"), text("re."), finish(FinishReason::Stop)];
    assert_eq!(turned(form, words.clone()), [text("Sure."), finish(FinishReason::Stop)]);
    // Cut off before its end.
    assert_eq!(turned(form, words[..1].to_vec()), [text("Su")]);
    assert_eq!(turned(plain, words.clone()), words);
    let long = "x".repeat(70_000);
    assert_eq!(turned(form, vec![text(&long), text("y")]), [text(&long), text("y")]);
}

#[test]
fn nulls_are_taken_out_after_the_alternative_that_was_answered() {
    let object = |v: &str, o: Value, required: Value| {
        json!({ "type": "object", "properties": { "v": { "type": v }, "o": { "type": o } }, "required": required,
            "additionalProperties": false })
    };
    let either = json!({ "type": "object", "required": ["s"], "properties": { "s": { "anyOf": [
        object("string", json!("string"), json!(["v"])),
        object("integer", json!(["string", "null"]), json!(["v", "o"])),
    ] } } });
    let kept = json!({ "s": { "v": 1, "o": null } });
    assert_eq!(turned(&either, kept.clone()), kept);
    assert_eq!(turned(&either, json!({ "s": { "v": "t", "o": null } })), json!({ "s": { "v": "t" } }));
    let lists = json!({ "type": "array", "items": { "anyOf": [
        { "type": "array", "items": { "type": "string" } },
        { "type": "array", "items": { "type": "object", "properties": { "x": { "type": "integer" } } } },
    ] } });
    assert_eq!(turned(&lists, json!([[{ "x": null }], ["t"]])), json!([[{}], ["t"]]));
    // Alternatives in a circle come to an end.
    let circle = json!({ "$ref": "#/$defs/n", "$defs": { "n": { "anyOf": [{ "$ref": "#/$defs/n" }, { "$ref": "#/$defs/n" },
        { "type": "object", "properties": { "v": { "$ref": "#/$defs/n" } } }] } } });
    turned(&circle, json!({ "v": { "v": { "q": null } } }));
}

#[test]
fn properties_that_are_called_as_keywords_are_properties() {
    for name in ["default", "enum", "const", "examples", "definitions", "$defs", "$ref"] {
        let tree = json!({ "type": "object", "properties": { name: { "$ref": "#" } }, "required": [name],
            "additionalProperties": false });
        assert_eq!(unsaid(tree, &ANTHROPIC), "a schema that refers to itself", "{name}");
    }
    let value = json!({ "type": "object", "properties": { "a": { "enum": ["x"], "default": { "$ref": "#" } } } });
    assert!(converted(&value, &PERPLEXITY).is_ok());
}

/// A schema of a few levels, with properties that may be absent, and whether one of them may be null.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "string", "minLength": 0 })),
        Just(json!({ "type": "integer", "minimum": 0 })),
        Just(json!({ "type": ["boolean", "null"] })),
        Just(json!({ "enum": ["a", 1] })),
        Just(json!({ "const": "k" })),
        Just(json!({ "$ref": "#/definitions/leaf" })),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let properties = prop::collection::vec((inner.clone(), any::<bool>()), 0..3);
        let object = properties.prop_map(|list| {
            let names = ["x", "y", "z"];
            let required: Vec<_> =
                list.iter().zip(names).filter(|((_, must), _)| *must).map(|(_, name)| name).collect();
            let properties: Map<String, Value> =
                names.iter().zip(list).map(|(name, (schema, _))| ((*name).to_owned(), schema)).collect();
            json!({ "type": "object", "properties": properties, "required": required })
        });
        prop_oneof![
            object,
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|either| json!({ "anyOf": either })),
            alternatives(),
            inner.prop_map(|schema| json!({ "anyOf": [schema, { "type": "null" }] })),
        ]
    })
}

/// Objects, or lists of them, that differ only by the types of their properties and by which may be absent.
fn alternatives() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just(json!({ "type": "string" })),
        Just(json!({ "type": "integer" })),
        Just(json!({ "type": ["string", "null"] })),
        Just(json!({ "type": "null" })),
        Just(json!({ "type": "array", "items": { "type": "string" } })),
    ];
    let object = (kind.clone(), kind, 0..4_usize).prop_map(|(x, y, must)| {
        let required: &[&str] = [&[][..], &["x"], &["y"], &["x", "y"]][must];
        json!({ "type": "object", "properties": { "x": x, "y": y }, "required": required })
    });
    (prop::collection::vec(object, 2..4), any::<bool>()).prop_map(|(objects, lists)| {
        let list = |items| json!({ "type": "array", "items": items });
        let either = if lists { objects.into_iter().map(list).collect() } else { objects };
        json!({ "anyOf": either })
    })
}

/// A value that fits a converted schema, as the choices have it.
fn instance(root: &Value, schema: &Value, choices: &mut impl Iterator<Item = u8>) -> Value {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        return instance(root, refs::resolved(root, to).expect("defined"), choices);
    }
    let mut pick = |from: &Value| {
        let from = from.as_array().expect("a list");
        from[choices.next().unwrap_or(0) as usize % from.len()].clone()
    };
    if let Some(either) = schema.get("anyOf").or(schema.get("oneOf")) {
        let one = pick(either);
        return instance(root, &one, choices);
    }
    if let Some(values) = schema.get("enum") {
        return pick(values);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    let kind = if schema["type"].is_array() { pick(&schema["type"]) } else { schema["type"].clone() };
    match kind.as_str().expect("a type") {
        "string" => json!("text"),
        "integer" => json!(7),
        "boolean" => json!(true),
        "array" => (0..choices.next().unwrap_or(0) % 3).map(|_| instance(root, &schema["items"], choices)).collect(),
        "object" => {
            let properties = schema["properties"].as_object().expect("properties");
            properties
                .iter()
                .map(|(name, schema)| (name.clone(), instance(root, schema, choices)))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => Value::Null,
    }
}

proptest! {
    #[test]
    fn whatever_fits_what_was_sent_fits_what_was_asked(schema in any_schema(), choices in prop::collection::vec(any::<u8>(), 24)) {
        let source = match schema {
            Value::Object(mut keys) => {
                keys.insert("definitions".to_owned(), json!({ "leaf": { "type": "string", "format": "uri-reference" } }));
                Value::Object(keys)
            }
            other => other,
        };
        let own = jsonschema::validator_for(&source).expect("a schema");
        for rules in DIALECTS {
            let Ok(Converted { schema, form, .. }) = converted(&source, rules) else { continue };
            let answer = instance(&schema, &schema, &mut choices.iter().copied());
            prop_assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&answer), "{schema} {answer}");
            let (back, _) = form.value(&source, answer.clone());
            prop_assert!(own.is_valid(&back), "{source} as {schema}: {answer} is {back}");
        }
    }
}
