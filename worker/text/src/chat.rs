//! Chat templates as Hugging Face transformers renders them: Jinja in a sandbox, with its helpers
//! and its view of a conversation. Templates come with models and are not trusted: their size, the
//! steps they take and the text they write are bounded, and nothing outside can be reached.

use crate::abi::{internal, invalid, Failure, Outcome, INVALID, LIMIT, PRECONDITION};
use crate::generation::{self, Spans};
use crate::moment::Moment;
use crate::panics::caught;
use crate::program::Program;
use crate::{names, python, sized, source, tojson};
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

const NOW: &str = "__trainyard_now";
/// The engine parses and generates code by recursion, as deep as a tag is long (source.rs): it has a
/// stack of its own for that, reserved and not touched until it is needed. Rendering goes no deeper
/// than values nest (sized.rs) and macros call (the engine's own limit), for which any stack will do.
const STACK_BYTES: usize = 256 << 20;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Limits {
    pub source_bytes: usize,
    /// Instructions of the engine; 64 bytes made or read count as one.
    pub steps: u64,
    pub output_bytes: usize,
}

pub struct ChatTemplate {
    environment: Environment<'static>,
    program: Program,
    limits: Limits,
    pub marks_generation: bool,
}

/// What a template is given.
pub struct Conversation {
    pub messages: Vec<Value>,
    /// Everything else it sees: tools, documents, special tokens, options of its own.
    pub variables: Vec<(Value, Value)>,
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
        let source = source::rewrite(source)?;
        let program = on_wide_stack(|| {
            Program::compile(&source.text).map_err(|error| failure(error, limits))
        })?;
        let environment = environment(limits);
        Ok(ChatTemplate { environment, program, limits, marks_generation: source.marks_generation })
    }

    /// The text, and the spans the assistant wrote if `with_spans`.
    pub fn render(
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
                    self.text(conversation, messages, add_generation_prompt, Some(&marks))?;
                generation::spans_of(&text, &marked, &marks)?
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
            if message
                .get_attr("role")
                .ok()
                .and_then(|role| role.as_str().map(|r| r == "assistant"))
                != Some(true)
            {
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
        marks: Option<&str>,
    ) -> Outcome<String> {
        let mut variables: Vec<(Value, Value)> =
            vec![("tools".into(), Value::from(())), ("documents".into(), Value::from(()))];
        variables.extend(conversation.variables.iter().cloned());
        variables.push(("messages".into(), Value::from(messages.to_vec())));
        variables.push(("add_generation_prompt".into(), Value::from(add_generation_prompt)));
        variables.extend(conversation.now.map(|now| (NOW.into(), Value::from(now))));
        variables.extend(marks.map(|marks| (generation::MARKS.into(), Value::from(marks))));
        let text = self
            .program
            .run(&self.environment, Value::from_pairs(variables))
            .map_err(|error| failure(error, self.limits))?;
        if text.len() > self.limits.output_bytes {
            return Err(Failure {
                code: LIMIT,
                message: format!(
                    "the template writes more than {} bytes",
                    self.limits.output_bytes
                ),
            });
        }
        Ok(text)
    }
}

/// How much of a turn's text the assistant wrote: all of it, save white space that the template sets
/// behind its end-of-turn token.
fn written(message: &Value, turn: &str) -> usize {
    let content = message.get_attr("content").unwrap_or_default();
    let content = content.as_str().unwrap_or_default().trim_end();
    let trimmed = turn.trim_end();
    if !content.is_empty() && trimmed.ends_with(content) {
        return turn.len();
    }
    trimmed.len()
}

fn environment(limits: Limits) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(limits.steps));
    environment.set_unknown_method_callback(python::method);
    environment.set_formatter(|out, state, value| match python::as_float(value) {
        Some(float) => out.write_str(&python::float(float)).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", tojson::filter);
    environment.add_filter("trim", python::trim);
    environment.add_filter("int", python::int);
    environment.add_filter("float", python::to_float);
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
    });
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_filter("default", python::default);
    environment.add_filter("d", python::default);
    environment.add_filter("indent", python::indent);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("namespace", names::make);
    environment.add_function("cycler", minijinja_contrib::globals::cycler);
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    generation::add_filter(&mut environment);
    sized::add_filter(&mut environment);
    environment
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    let refused = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let now = state.lookup(NOW).and_then(|now| i64::try_from(now).ok()).ok_or_else(|| {
        refused("strftime_now: the template asks for the time, and none was given".to_string())
    })?;
    Moment::from_seconds(now).format(format).map_err(refused)
}

/// The engine's error in the words of a caller: the innermost cause and the template's line.
fn failure(error: Error, limits: Limits) -> Failure {
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    if error.kind() == ErrorKind::OutOfFuel {
        let message = format!(
            "{line}the template did not end within {} steps (64 bytes of text made count as one): it \
             loops or recurses, or the conversation is too long for it",
            limits.steps
        );
        return Failure { code: LIMIT, message };
    }
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    let is_limit = message.contains("recursion limit") || message.contains(sized::TOO_LARGE);
    let code = if is_limit { LIMIT } else { INVALID };
    Failure { code, message: line + &message }
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
fn as_templates_see_it(message: &Value) -> Result<Value, Error> {
    let mut fields: Vec<(Value, Value)> = vec![];
    for key in message.try_iter()? {
        let value = message.get_item(&key)?;
        if !value.is_none() {
            fields.push((key, value));
        }
    }
    let field = |name: &str| {
        fields.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value.clone())
    };
    let reasoning =
        ["reasoning_content", "thinking", "reasoning"].iter().find_map(|name| field(name));
    if let Some(reasoning) = reasoning {
        fields.insert(0, ("thinking".into(), reasoning.clone()));
        fields.push(("reasoning_content".into(), reasoning));
    }
    Ok(Value::from_pairs(fields))
}

impl Conversation {
    /// `messages` is a JSON array of objects, `tools` one or empty, `variables` an object or empty.
    pub fn parse(messages: &str, tools: &str, variables: &str, now: Option<i64>) -> Outcome<Self> {
        let parsed = parse_json("messages", messages, ValueKind::Seq)?;
        let mut seen = vec![];
        for (i, message) in parsed.try_iter().map_err(internal)?.enumerate() {
            if message.kind() != ValueKind::Map {
                return Err(invalid(format!("message {i} is a {}, not an object", message.kind())));
            }
            seen.push(as_templates_see_it(&message).map_err(internal)?);
        }
        let mut pairs = vec![];
        if !variables.is_empty() {
            let variables = parse_json("variables", variables, ValueKind::Map)?;
            for key in variables.try_iter().map_err(internal)? {
                let value = variables.get_item(&key).map_err(internal)?;
                pairs.push((key, value));
            }
        }
        if !tools.is_empty() {
            pairs.push(("tools".into(), parse_json("tools", tools, ValueKind::Seq)?));
        }
        Ok(Conversation { messages: seen, variables: pairs, now })
    }
}

fn parse_json(what: &str, text: &str, kind: ValueKind) -> Outcome<Value> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| invalid(format!("{what} are not JSON: {error}")))?;
    if value.kind() != kind {
        return Err(invalid(format!("{what} must be a JSON {kind}, they are a {}", value.kind())));
    }
    Ok(value)
}
