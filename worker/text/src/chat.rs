//! Chat templates as Hugging Face transformers renders them: Jinja in a sandbox, with its helpers
//! and its view of a conversation. Templates come with models and are not trusted: their size, the
//! steps they take and the text they write are bounded, and nothing outside can be reached.

use crate::abi::{internal, invalid, Failure, Outcome, INVALID, LIMIT, PRECONDITION};
use crate::generation::{self, Spans};
use crate::jinja::{self, Bounds, Error, Interp, Kind, Template, Value};
use crate::moment::Moment;
use crate::panics::caught;
use std::sync::Arc;

/// Parsing and rendering recurse, as deep as the template nests and calls itself, which is bounded:
/// they have a stack of their own for that, reserved and not touched until it is needed.
const STACK_BYTES: usize = 256 << 20;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Limits {
    pub source_bytes: usize,
    /// Statements, expressions and items; 64 bytes made or read count as one.
    pub steps: u64,
    pub output_bytes: usize,
}

pub struct ChatTemplate {
    program: Arc<Template>,
    limits: Limits,
    pub marks_generation: bool,
}

/// What a template is given.
pub struct Conversation {
    pub messages: Vec<Value>,
    /// Everything else it sees: tools, documents, special tokens, options of its own.
    pub variables: Vec<(Arc<str>, Value)>,
    pub now: Option<i64>,
}

impl ChatTemplate {
    pub fn compile(source: &str, limits: Limits) -> Outcome<Self> {
        if source.len() > limits.source_bytes {
            return Err(Failure {
                code: LIMIT,
                message: format!(
                    "the template has {} bytes, {} are the most",
                    source.len(),
                    limits.source_bytes
                ),
            });
        }
        let program = on_wide_stack(|| jinja::compile(source).map_err(failure))?;
        let marks_generation = program.marks_generation;
        Ok(ChatTemplate { program: Arc::new(program), limits, marks_generation })
    }

    /// The text of a conversation that is read where it is rendered, and the spans the assistant
    /// wrote if `with_spans`.
    pub fn render(
        &self,
        read: impl FnOnce() -> Outcome<Conversation> + Send,
        add_generation_prompt: bool,
        with_spans: bool,
    ) -> Outcome<(String, Spans)> {
        on_wide_stack(|| self.rendered(&read()?, add_generation_prompt, with_spans))
    }

    fn rendered(
        &self,
        conversation: &Conversation,
        add_generation_prompt: bool,
        with_spans: bool,
    ) -> Outcome<(String, Spans)> {
        let messages = &conversation.messages;
        let text = self.text(conversation, messages, add_generation_prompt, None)?;
        let spans = match (with_spans, self.marks_generation) {
            (false, _) => vec![],
            (true, true) => {
                let marks = generation::marks_for(&text)?;
                let marked =
                    self.text(conversation, messages, add_generation_prompt, Some(marks))?;
                generation::spans_of(&text, &marked, marks)?
            }
            (true, false) => self.spans_by_prefix(conversation, &text)?,
        };
        Ok((text, spans))
    }

    /// For templates without generation blocks: what a turn adds to the text before it. Holds only
    /// where the text up to a message does not change with what follows it, which is checked.
    fn spans_by_prefix(&self, conversation: &Conversation, whole: &str) -> Outcome<Spans> {
        let mut spans = Spans::new();
        for (i, message) in conversation.messages.iter().enumerate() {
            if field(message, "role").and_then(Value::as_str) != Some("assistant") {
                continue;
            }
            let before = self.text(conversation, &conversation.messages[..i], true, None)?;
            let after = self.text(conversation, &conversation.messages[..=i], false, None)?;
            let end = self.end_of_turn(conversation, &before, &after);
            if !whole.starts_with(&before)
                || !whole.starts_with(&after[..end])
                || end < before.len()
            {
                return Err(Failure {
                    code: PRECONDITION,
                    message: format!(
                        "the template renders message {i} (assistant) differently when other messages \
                         follow it, so what to train on cannot be told from the text: put \
                         {{% generation %}} and {{% endgeneration %}} around the answer in the template"
                    ),
                });
            }
            let span = before.len()..before.len() + written(message, &after[before.len()..end]);
            if !span.is_empty() {
                spans.push(span);
            }
        }
        Ok(spans)
    }

    /// Where the text of a turn ends: some templates write the next prompt whether asked or not.
    /// Such a prompt is then all they write for no messages.
    fn end_of_turn(&self, conversation: &Conversation, before: &str, after: &str) -> usize {
        match self.text(conversation, &[], false, None) {
            Ok(prompt) if before.ends_with(&prompt) && after.ends_with(&prompt) => {
                after.len() - prompt.len()
            }
            _ => after.len(),
        }
    }

    fn text(
        &self,
        conversation: &Conversation,
        messages: &[Value],
        add_generation_prompt: bool,
        marks: Option<(char, char)>,
    ) -> Outcome<String> {
        let messages = Value::list(messages.to_vec()).map_err(failure)?;
        let mut variables: Vec<(Arc<str>, Value)> =
            vec![("tools".into(), Value::None), ("documents".into(), Value::None)];
        variables.extend(conversation.variables.iter().cloned());
        variables.push(("messages".into(), messages));
        variables.push(("add_generation_prompt".into(), Value::Bool(add_generation_prompt)));
        let bounds = Bounds { steps: self.limits.steps, output_bytes: self.limits.output_bytes };
        let mut interp = Interp::new(self.program.clone(), variables, bounds);
        interp.now = conversation.now.map(Moment::from_seconds);
        interp.marks = marks;
        interp.render().map_err(failure)
    }
}

fn field<'v>(message: &'v Value, name: &str) -> Option<&'v Value> {
    match message {
        Value::Dict(dict) => dict.get_text(name),
        _ => None,
    }
}

/// How much of a turn's text the assistant wrote: all of it, save white space that the template sets
/// behind its end-of-turn token.
fn written(message: &Value, turn: &str) -> usize {
    let content = field(message, "content").and_then(Value::as_str).unwrap_or_default().trim_end();
    let trimmed = turn.trim_end();
    if !content.is_empty() && trimmed.ends_with(content) {
        return turn.len();
    }
    trimmed.len()
}

fn failure(error: Error) -> Failure {
    let line = error.line.map_or(String::new(), |line| format!("line {line}: "));
    let code = if error.kind == Kind::Limit { LIMIT } else { INVALID };
    Failure { code, message: line + &error.message }
}

/// Runs `body` on a thread with a stack for deep recursion.
fn on_wide_stack<T: Send>(body: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("chat template".to_string())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || caught(body).and_then(|outcome| outcome))
            .map_err(|error| internal(format!("no thread for the chat template: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(internal("the thread of the chat template ended early")))
    })
}

/// A message as transformers hands it to a template: without nulls, and with its reasoning under
/// every name templates read it by.
fn as_templates_see_it(message: &Value) -> Outcome<Value> {
    let Value::Dict(dict) = message else { return Ok(message.clone()) };
    let mut fields: Vec<(Value, Value)> =
        dict.entries.iter().filter(|(_, value)| !matches!(value, Value::None)).cloned().collect();
    let reasoning = ["reasoning_content", "thinking", "reasoning"]
        .iter()
        .find_map(|name| field(message, name).filter(|value| !matches!(value, Value::None)))
        .cloned();
    if let Some(reasoning) = reasoning {
        fields.insert(0, (Value::text("thinking"), reasoning.clone()));
        fields.push((Value::text("reasoning_content"), reasoning));
    }
    jinja::dict(fields).map_err(failure)
}

impl Conversation {
    /// `messages` is a JSON array of objects, `tools` one or empty, `variables` an object or empty.
    pub fn parse(messages: &str, tools: &str, variables: &str, now: Option<i64>) -> Outcome<Self> {
        let Value::List(parsed) = parse_json("messages", messages, "list")? else {
            return Err(internal("the messages are no list"));
        };
        let mut seen = vec![];
        for (i, message) in parsed.items.iter().enumerate() {
            if !matches!(message, Value::Dict(_)) {
                let kind = message.type_name();
                return Err(invalid(format!("message {i} is a {kind}, not an object")));
            }
            seen.push(as_templates_see_it(message)?);
        }
        let mut pairs = vec![];
        if !variables.is_empty() {
            if let Value::Dict(variables) = parse_json("variables", variables, "dict")? {
                for (name, value) in &variables.entries {
                    pairs.push((name.as_str().unwrap_or_default().into(), value.clone()));
                }
            }
        }
        if !tools.is_empty() {
            pairs.push(("tools".into(), parse_json("tools", tools, "list")?));
        }
        Ok(Conversation { messages: seen, variables: pairs, now })
    }
}

fn parse_json(what: &str, text: &str, kind: &str) -> Outcome<Value> {
    let value = jinja::parse_json(text)
        .map_err(|error| invalid(format!("{what} are not JSON: {error}")))?;
    if value.type_name() != kind {
        return Err(invalid(format!(
            "{what} must be a JSON {}, they are a {}",
            if kind == "list" { "array" } else { "object" },
            value.type_name()
        )));
    }
    Ok(value)
}
