//! What single dialects take of JSON Schema, as data.
//!
//! Sources, read 2026-11-26: OpenAI's guide to structured outputs and npm openai 6.49.0 `lib/transform.ts`; Microsoft's
//! page on structured outputs; Groq's, xAI's, Fireworks' and Cohere's pages of the same name; npm @anthropic-ai/sdk 1.14.0
//! `src/lib/transform-json-schema.ts`; `responseJsonSchema` in the types of @google/genai 2.32.0; the grammars of
//! llama.cpp, which Ollama makes of a schema.

use super::super::catalog::Fields;

/// What one dialect takes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapter) struct Rules {
    pub keywords: Keywords,
    /// Values of `format`; `None`: any.
    pub formats: Option<Fields>,
    pub patterns: Patterns,
    /// The largest `minItems`.
    pub min_items: u64,
    /// A list of values may hold lists and objects.
    pub rich_enums: bool,
    /// `$ref` may have neighbours.
    pub ref_neighbours: bool,
    /// A schema may refer to itself.
    pub recursion: bool,
    /// `true` and `false` are schemas.
    pub booleans: bool,
    /// `items` may be a list of schemas.
    pub tuples: bool,
    /// Every schema has to say its type, and every list what is in it.
    pub typed: bool,
    /// The answer may be anything; otherwise an object.
    pub any_root: bool,
    /// Objects may have properties of any name.
    pub free_objects: bool,
    /// Every object has to say `additionalProperties: false`.
    pub closed: bool,
    /// Every property is required: one that is not is asked for as one that may be null.
    pub all_required: bool,
    /// Every object requires a property.
    pub some_required: bool,
}

/// Which keywords are taken.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapter) enum Keywords {
    Only(Fields),
    AllBut(Fields),
}

/// Which regular expressions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapter) enum Patterns {
    Any,
    /// With `^` at the start and `$` at the end.
    Anchored,
    /// Without those, and without looking ahead.
    Plain,
}

impl Rules {
    pub fn takes(&self, keyword: &str) -> bool {
        match self.keywords {
            Keywords::Only(list) => list.contains(&keyword),
            Keywords::AllBut(list) => !list.contains(&keyword),
        }
    }
}

/// Whatever is JSON Schema, as far as is known.
pub(in crate::adapter) const ANY: Rules = Rules {
    keywords: Keywords::AllBut(&[]),
    formats: None,
    patterns: Patterns::Any,
    min_items: u64::MAX,
    rich_enums: true,
    ref_neighbours: true,
    recursion: true,
    booleans: true,
    tuples: true,
    typed: false,
    any_root: true,
    free_objects: true,
    closed: false,
    all_required: false,
    some_required: false,
};

/// OpenAI without `strict`: the schema is shown to the model, and only has to describe an object.
pub(in crate::adapter) const OPENAI: Rules = Rules { any_root: false, ..ANY };

/// OpenAI with `strict`, and Groq, which has the same demands. `oneOf` and whatever is not listed is a 400
/// (`invalid_json_schema`).
pub(in crate::adapter) const STRICT: Rules = Rules {
    keywords: Keywords::Only(&[
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "definitions",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ]),
    formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"]),
    ref_neighbours: false,
    booleans: false,
    tuples: false,
    typed: true,
    any_root: false,
    free_objects: false,
    closed: true,
    all_required: true,
    ..ANY
};

/// Azure serves OpenAI's models and takes no bounds of strings, numbers and lists.
pub(in crate::adapter) const AZURE_STRICT: Rules = Rules {
    keywords: Keywords::Only(&[
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "definitions",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "title",
        "type",
    ]),
    ..STRICT
};

/// A 400 names every keyword that is not taken; recursion is one, too.
pub(in crate::adapter) const ANTHROPIC: Rules = Rules {
    keywords: Keywords::Only(&[
        "$defs",
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "description",
        "enum",
        "format",
        "items",
        "minItems",
        "properties",
        "required",
        "title",
        "type",
    ]),
    formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"]),
    min_items: 1,
    rich_enums: false,
    recursion: false,
    all_required: false,
    ..STRICT
};

/// What is not listed there may be sent and is not looked at.
pub(in crate::adapter) const GEMINI: Rules = Rules {
    keywords: Keywords::Only(&[
        "$anchor",
        "$defs",
        "$id",
        "$ref",
        "additionalProperties",
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "prefixItems",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ]),
    ref_neighbours: false,
    booleans: false,
    tuples: false,
    ..ANY
};

/// No bounds, and of compositions only `anyOf`.
pub(in crate::adapter) const COHERE: Rules = Rules {
    keywords: Keywords::Only(&[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "format",
        "items",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ]),
    formats: Some(&["date", "date-time", "time", "uuid"]),
    patterns: Patterns::Plain,
    booleans: false,
    tuples: false,
    any_root: false,
    some_required: true,
    ..ANY
};

/// They say which edition a schema is written in, and where it lives: an unknown field is a 422.
pub(in crate::adapter) const MISTRAL: Rules = Rules { keywords: Keywords::AllBut(&["$schema", "$id"]), ..ANY };

/// These, and lists of places, are a 400; everything else is taken, if not all of it enforced.
pub(in crate::adapter) const XAI: Rules =
    Rules { keywords: Keywords::AllBut(&["maxContains", "minContains"]), booleans: false, tuples: false, ..ANY };

pub(in crate::adapter) const FIREWORKS: Rules = Rules {
    keywords: Keywords::AllBut(&["maxItems", "maxLength", "minItems", "minLength", "oneOf", "pattern"]),
    ..ANY
};

/// "Recursive JSON schema is not allowed", and neither is an object that says nothing of its properties.
pub(in crate::adapter) const PERPLEXITY: Rules = Rules { recursion: false, free_objects: false, ..ANY };

/// llama.cpp refuses a pattern that is not anchored; keywords that its grammars have nothing for it passes over.
pub(in crate::adapter) const OLLAMA: Rules = Rules { patterns: Patterns::Anchored, ..ANY };
