//! How an answer is made to fit a schema where a dialect has no words for it, or other ones.
//!
//! In the order of how much each way promises: the provider's own field, with the schema as that takes it; a tool that
//! must be called, whose arguments are the answer; words, beside the plain JSON mode where there is one. Which ways a
//! service has is in its row ([`Structured`]); what comes is checked by whoever asked, as everywhere. Schemas of tools are
//! said in the words of the dialect here as well.

use serde_json::Value;

use super::Terms;
use super::capabilities::Capability;
use super::catalog::{Dialect, Otherwise, Service};
use super::facts::Facts;
use super::json_schema::{self, ANY, AnswerForm, Converted, OPENAI, Rules};
use crate::types::{ChatRequest, Content, FieldError, Function, Message, Part, ResponseFormat, Role, Tool, ToolChoice};

const FIELD: &str = "response_format";
const SCHEMA: &str = "response_format.json_schema.schema";
const STRICT: &str = "response_format.json_schema.strict";
const TOLD: &str = "Answer with one JSON value that fits this JSON Schema, and with nothing else: no code fence, no words \
                    before or after it.";
const TOLD_JSON: &str =
    "Answer with one JSON object, and with nothing else: no code fence, no words before or after it.";
const TOOL: &str = "Gives the answer.";

/// A request as a dialect has words for it.
#[derive(Debug)]
pub(super) struct Asked {
    /// A copy of the caller's with some of it said otherwise.
    pub request: Box<ChatRequest>,
    pub form: AnswerForm,
    pub warnings: Vec<String>,
}

/// How the format of an answer is said.
enum Format {
    /// In the provider's own field.
    Native(ResponseFormat),
    Tool(Tool),
    Words {
        words: String,
        json_mode: bool,
    },
}

/// Whether a schema goes in the provider's own field.
enum Native {
    AsItIs,
    Otherwise(ResponseFormat),
    /// And why not.
    Not(String),
}

/// What is said otherwise of a request; `None`: nothing.
pub(super) fn asked(
    request: &ChatRequest,
    service: &Service,
    model: &str,
    facts: Facts,
    terms: Terms<'_>,
) -> Result<Option<Asked>, FieldError> {
    let mut way = Way { request, service, model, facts, terms, form: AnswerForm::default(), warnings: Vec::new() };
    let tools = way.tools()?;
    let format = match &request.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => way.json_object(),
        Some(ResponseFormat::JsonSchema(format)) => way.json_schema(format)?,
    };
    let Way { form, warnings, .. } = way;
    if tools.is_none() && format.is_none() {
        return Ok(None);
    }
    let mut request = Box::new(request.clone());
    if let Some(tools) = tools {
        request.tools = tools;
    }
    match format {
        None => {}
        Some(Format::Native(format)) => request.response_format = Some(format),
        Some(Format::Tool(tool)) => {
            request.response_format = None;
            request.tool_choice = Some(ToolChoice::Function(tool.function.name.clone()));
            request.parallel_tool_calls = service.dialect.takes("parallel_tool_calls").then_some(false);
            request.tools = vec![tool];
        }
        Some(Format::Words { words, json_mode }) => {
            request.response_format = json_mode.then_some(ResponseFormat::JsonObject);
            tell(&mut request.messages, &words);
        }
    }
    Ok(Some(Asked { request, form, warnings }))
}

/// Whether a refusal that names one of a request's fields names one that stands for its schema.
pub(super) fn is_about_the_format(request: &ChatRequest, named: &str) -> bool {
    let by_tool = request.tools.is_empty() && (named.starts_with("tool_choice") || named.starts_with("tools"));
    by_tool && matches!(request.response_format, Some(ResponseFormat::JsonSchema(_)))
}

struct Way<'a> {
    request: &'a ChatRequest,
    service: &'a Service,
    model: &'a str,
    facts: Facts,
    terms: Terms<'a>,
    form: AnswerForm,
    warnings: Vec<String>,
}

impl Way<'_> {
    fn dialect(&self) -> &Dialect {
        &self.service.dialect
    }

    fn warn(&mut self, field: &str, what: impl std::fmt::Display) {
        self.warnings.push(format!("{field}: {what}"));
    }

    /// The provider has refused this field, or the configuration leaves it out.
    fn lacks(&self, field: &str) -> bool {
        self.terms.without.iter().chain(&self.terms.params.omit).any(|without| without == field)
    }

    fn beside_tools(&self) -> bool {
        self.request.tools.is_empty() || self.dialect().structured.beside_tools.contain(self.model)
    }

    /// JSON without a schema, where the provider has no mode for it.
    fn json_object(&mut self) -> Option<Format> {
        let name = self.service.name;
        let why = if self.lacks(FIELD) {
            "does not take response_format"
        } else if !self.dialect().structured.json_mode {
            "has no json_object"
        } else if !self.beside_tools() {
            "takes no json_object beside tools here"
        } else {
            return None;
        };
        self.warn(FIELD, format_args!("{name} {why}, asked for in words"));
        Some(Format::Words { words: TOLD_JSON.to_owned(), json_mode: false })
    }

    fn json_schema(&mut self, format: &Value) -> Result<Option<Format>, FieldError> {
        let Some(schema) = format.get("schema") else { return Ok(None) };
        let why = match self.native(format, schema)? {
            Native::AsItIs => return Ok(None),
            Native::Otherwise(format) => return Ok(Some(Format::Native(format))),
            Native::Not(why) => why,
        };
        let name = self.service.name;
        if self.can_be_forced() {
            self.warn(FIELD, format_args!("{name} {why}, asked for as the arguments of a tool that must be called"));
            return self.tool_that_gives(format, schema).map(|tool| Some(Format::Tool(tool)));
        }
        self.warn(FIELD, format_args!("{name} {why}, told in words instead"));
        let is_object = schema.get("type").is_none_or(|kind| kind == "object");
        let json_mode = self.dialect().structured.json_mode && is_object && !self.lacks(FIELD) && self.beside_tools();
        Ok(Some(Format::Words { words: format!("{TOLD}\n{schema}"), json_mode }))
    }

    /// The schema in the provider's own field, if it can be said there.
    fn native(&mut self, format: &Value, schema: &Value) -> Result<Native, FieldError> {
        let structured = &self.service.dialect.structured;
        let Some(rules) = structured.native else { return Ok(Native::not("has no json_schema")) };
        if self.facts.cannot.contains(Capability::JsonSchema) {
            return Ok(Native::Not(format!("has no json_schema for model {}", self.model)));
        }
        if self.lacks(FIELD) {
            return Ok(Native::not("does not take response_format"));
        }
        if !self.beside_tools() {
            return Ok(Native::not("takes no json_schema beside tools here"));
        }
        let asks_strict = format.get("strict").is_some_and(|strict| strict == true);
        let strictly = structured.strict.filter(|_| asks_strict).map(|rules| json_schema::converted(schema, rules));
        let mut format = format.clone();
        let mut loosened = false;
        let converted = match strictly {
            Some(Ok(converted)) => Ok(converted),
            Some(Err(why)) => {
                self.refuse(STRICT, format!("{} cannot enforce {why}", self.service.name))?;
                format["strict"] = Value::Bool(false);
                loosened = true;
                json_schema::converted(schema, rules)
            }
            None => json_schema::converted(schema, rules),
        };
        let Converted { schema, form, changes } = match converted {
            Ok(converted) => converted,
            Err(why) => return Ok(Native::Not(format!("has no json_schema for {why}"))),
        };
        if changes.is_empty() && !loosened {
            return Ok(Native::AsItIs);
        }
        self.form = form;
        self.name_changes(SCHEMA, &changes);
        format["schema"] = schema;
        Ok(Native::Otherwise(ResponseFormat::JsonSchema(format)))
    }

    /// Whether a tool can be offered that must be called. It would keep models from thinking, and be in the way of tools of
    /// the caller's own.
    fn can_be_forced(&self) -> bool {
        let thinks = self.request.reasoning_effort.as_deref().is_some_and(|effort| effort != "none");
        self.dialect().structured.otherwise == Otherwise::Tool
            && self.request.tools.is_empty()
            && !thinks
            && !self.facts.cannot.contains(Capability::Tools)
            && !self.lacks(FIELD)
            && !self.lacks("tool_choice")
    }

    fn tool_that_gives(&mut self, format: &Value, schema: &Value) -> Result<Tool, FieldError> {
        // Arguments are an object.
        let Converted { schema, form, changes } = json_schema::converted(schema, &OPENAI)
            .map_err(|why| FieldError { field: SCHEMA.to_owned(), message: why })?;
        self.form = AnswerForm { tool: true, ..form };
        self.name_changes(SCHEMA, &changes);
        let text = |key: &str| format.get(key).and_then(Value::as_str);
        Ok(Tool::new(Function {
            name: text("name").unwrap_or("answer").to_owned(),
            description: Some(text("description").unwrap_or(TOOL).to_owned()),
            parameters: Some(schema),
            strict: None,
        }))
    }

    fn name_changes(&mut self, field: &str, changes: &str) {
        if !changes.is_empty() {
            let name = self.service.name;
            self.warn(field, format_args!("sent as {name} takes it: {changes}"));
        }
    }

    /// Says that a field is not sent: an error under `unsupported_params: "error"`.
    fn refuse(&mut self, field: &str, why: String) -> Result<(), FieldError> {
        if self.terms.strict {
            return Err(FieldError { field: field.to_owned(), message: why });
        }
        self.warn(field, format_args!("{why}, not sent"));
        Ok(())
    }

    /// The tools with their schemas as the dialect takes them; `None`: as they are.
    fn tools(&mut self) -> Result<Option<Vec<Tool>>, FieldError> {
        let Dialect { tool_schemas, strict_tools, .. } = &self.service.dialect;
        let strict = |tool: &Tool| tool.function.strict == Some(true) && strict_tools.is_some();
        if **tool_schemas == ANY && !self.request.tools.iter().any(strict) {
            return Ok(None);
        }
        let mut tools = self.request.tools.clone();
        let mut changed = false;
        for (at, tool) in tools.iter_mut().enumerate() {
            let rules = strict_tools.filter(|_| strict(tool));
            changed |= self.tool(at, &mut tool.function, tool_schemas, rules)?;
        }
        Ok(changed.then_some(tools))
    }

    /// One tool. Arguments go to the caller's own function as they come, piece by piece: a schema that could only be kept
    /// to with null for what is absent is not kept to strictly.
    fn tool(
        &mut self,
        at: usize,
        function: &mut Function,
        rules: &Rules,
        strict: Option<&Rules>,
    ) -> Result<bool, FieldError> {
        let Some(parameters) = &function.parameters else { return Ok(false) };
        let field = |key: &str| format!("tools[{at}].function.{key}");
        let mut changed = false;
        let strictly = match strict.map(|rules| json_schema::converted(parameters, rules)) {
            Some(Ok(converted)) if !converted.form.nulls => Some(Ok(converted)),
            Some(Ok(_)) => Some(Err("parameters of which some may be absent".to_owned())),
            Some(Err(why)) => Some(Err(why)),
            None => None,
        };
        let converted = match strictly {
            Some(Ok(converted)) => Ok(converted),
            Some(Err(why)) => {
                let why = format!("{} cannot enforce {why}", self.service.name);
                self.refuse(&field("strict"), why)?;
                function.strict = None;
                changed = true;
                json_schema::converted(parameters, rules)
            }
            None => json_schema::converted(parameters, rules),
        };
        // What cannot be said otherwise is left as the caller wrote it: without its schema it would be another tool.
        let Ok(Converted { schema, changes, .. }) = converted else { return Ok(changed) };
        if changes.is_empty() {
            return Ok(changed);
        }
        self.name_changes(&field("parameters"), &changes);
        function.parameters = Some(schema);
        Ok(true)
    }
}

impl Native {
    fn not(why: &str) -> Self {
        Self::Not(why.to_owned())
    }
}

/// Says it at the end of the system's text, or of the last question.
fn tell(messages: &mut Vec<Message>, words: &str) {
    let leads = messages.first().is_some_and(|first| matches!(first.role, Role::System | Role::Developer));
    let place = if leads { Some(0) } else { messages.iter().rposition(|message| message.role == Role::User) };
    let Some(message) = place.and_then(|at| messages.get_mut(at)) else {
        return messages.push(Message::text(Role::User, words));
    };
    match &mut message.content {
        Content::Empty => message.content = Content::Text(words.to_owned()),
        Content::Text(text) => {
            text.push_str("\n\n");
            text.push_str(words);
        }
        Content::Parts(parts) => parts.push(Part::Text { text: words.to_owned() }),
    }
}

#[cfg(test)]
#[path = "structured_tests.rs"]
mod tests;
