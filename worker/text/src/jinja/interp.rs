//! One rendering: what it was given, what it may spend, and its statements.

use super::ast::{BlockNode, Command, ForNode, MacroNode, ScopeId, Statement, Target, Template};
use super::error::{fail, limit, Error, Kind, Meter, Result};
use super::html;
use super::iterate::{collect, Items};
use super::objects::{Holders, LoopState, Macro, Stream};
use super::repr::text_of;
use super::scope::Scope;
use super::value::{nested, Value};
use crate::moment::Moment;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Statements, expressions and calls within each other: as much as the stack holds (chat.rs).
const DEPTH_MAX: usize = 10_000;
/// Macros and recursive loops within each other.
const CALLS_MAX: usize = 200;

pub struct Interp {
    pub meter: Meter,
    pub template: Arc<Template>,
    pub now: Option<Moment>,
    /// What is written before and behind what the assistant wrote.
    pub marks: Option<(char, char)>,
    pub autoescape: Cell<bool>,
    pub holders: Holders,
    pub output_bytes: usize,
    variables: Vec<(Arc<str>, Value)>,
    /// What the template sets outside of loops and macros.
    pub exported: RefCell<Vec<(Arc<str>, Value)>>,
    depth: Cell<usize>,
    calls: Cell<usize>,
}

pub struct Bounds {
    pub steps: u64,
    pub output_bytes: usize,
}

/// How a statement ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    Break,
    Continue,
}

/// Where statements run.
#[derive(Clone, Copy)]
pub struct Frame<'f> {
    pub scope: &'f Rc<Scope>,
    /// Whether what is set here is seen by blocks.
    pub is_top: bool,
}

impl Interp {
    pub fn new(template: Arc<Template>, variables: Vec<(Arc<str>, Value)>, bounds: Bounds) -> Self {
        Interp {
            meter: Meter::new(bounds.steps),
            template,
            now: None,
            marks: None,
            autoescape: Cell::new(false),
            holders: Holders::default(),
            output_bytes: bounds.output_bytes,
            variables,
            exported: RefCell::default(),
            depth: Cell::new(0),
            calls: Cell::new(0),
        }
    }

    pub fn render(&self) -> Result<String> {
        let template = self.template.clone();
        let scope = self.enter(template.scope, None);
        let mut out = String::new();
        self.run(&template.body, Frame { scope: &scope, is_top: true }, &mut out)?;
        Ok(out)
    }

    /// A name from outside of the template's scopes.
    pub fn resolve(&self, name: &str) -> Option<Value> {
        let find = |known: &[(Arc<str>, Value)]| {
            known.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value.clone())
        };
        find(&self.exported.borrow())
            .or_else(|| find(&self.variables))
            .or_else(|| super::globals::find(name))
    }

    pub fn enter(&self, id: ScopeId, around: Option<&Rc<Scope>>) -> Rc<Scope> {
        Scope::enter(&self.template.scopes[id], around, |name| self.resolve(name))
    }

    /// Runs what may hold itself, counting how deep.
    pub fn deeper<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() > DEPTH_MAX {
            return limit("recursion limit: the template nests or recurses too deep");
        }
        let outcome = run();
        self.depth.set(self.depth.get() - 1);
        outcome
    }

    fn call<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() > CALLS_MAX {
            return limit(format!(
                "recursion limit: macros or loops call themselves more than {CALLS_MAX} deep"
            ));
        }
        let outcome = run();
        self.calls.set(self.calls.get() - 1);
        outcome
    }

    pub fn write(&self, out: &mut String, text: &str) -> Result<()> {
        self.meter.text(text.len())?;
        if out.len() + text.len() > self.output_bytes {
            return limit(format!("the template writes more than {} bytes", self.output_bytes));
        }
        out.push_str(text);
        Ok(())
    }

    fn print(&self, out: &mut String, value: &Value) -> Result<()> {
        if let (Some(text), false) = (value.as_str(), self.autoescape.get()) {
            return self.write(out, text);
        }
        let text = text_of(self, value)?;
        match self.autoescape.get() && !value.is_markup() {
            true => self.write(out, &html::escape_text(&text)),
            false => self.write(out, &text),
        }
    }

    pub fn run(&self, body: &[Statement], frame: Frame, out: &mut String) -> Result<Flow> {
        for statement in body {
            self.meter.spend(1)?;
            let flow = self
                .deeper(|| self.statement(&statement.node, frame, out))
                .map_err(|error| Error { line: error.line.or(Some(statement.line)), ..error })?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&self, node: &Command, frame: Frame, out: &mut String) -> Result<Flow> {
        let inner = |id: ScopeId| self.enter(id, Some(frame.scope));
        match node {
            Command::Text(text) => self.write(out, text)?,
            Command::Print(expr) => {
                let value = self.eval(expr, frame.scope)?;
                self.print(out, &value)?;
            }
            Command::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.eval(test, frame.scope)?.is_true() {
                        return self.run(body, frame, out);
                    }
                }
                return self.run(otherwise, frame, out);
            }
            Command::For(node) => return self.for_statement(node, frame, out),
            Command::Set(target, expr) => {
                self.check_namespaces(target, frame.scope)?;
                let value = self.eval(expr, frame.scope)?;
                self.assign(target, value, frame)?;
            }
            Command::SetBlock { target, filter, body, scope } => {
                let scope = inner(*scope);
                let (text, flow) = self.captured(body, &scope)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = match filter {
                    Some(filter) => self.filtered(filter, self.block_text(&text), &scope)?,
                    None => Value::text(&text),
                };
                let value = match self.autoescape.get() {
                    true => Value::markup(text_of(self, &value)?),
                    false => value,
                };
                self.assign(target, value, frame)?;
            }
            Command::With { targets, values, body, scope } => {
                let scope = inner(*scope);
                let within = Frame { scope: &scope, is_top: false };
                for (target, value) in targets.iter().zip(values) {
                    let value = self.eval(value, frame.scope)?;
                    self.assign(target, value, within)?;
                }
                return self.run(body, within, out);
            }
            Command::Macro(node) => {
                let name = node.name.clone().unwrap_or_else(|| "".into());
                let made = self.make_macro(node, frame.scope, false);
                self.assign(&Target::Name(name), made, frame)?;
            }
            Command::CallBlock { call, node } => {
                let caller = self.make_macro(node, frame.scope, true);
                let value = self.eval_call(call, frame.scope, Some(caller))?;
                self.print(out, &value)?;
            }
            Command::FilterBlock { filter, body, scope } => {
                let scope = inner(*scope);
                let (text, flow) = self.captured(body, &scope)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(filter, self.block_text(&text), &scope)?;
                self.print(out, &value)?;
            }
            Command::AutoEscape { on, body, scope } => {
                let scope = inner(*scope);
                let on = self.eval(on, &scope)?.is_true();
                let before = self.autoescape.replace(on);
                let flow = self.run(body, Frame { scope: &scope, is_top: false }, out);
                self.autoescape.set(before);
                return flow;
            }
            Command::Generation(node) => self.generation(node, frame.scope, out)?,
            Command::Block(block) => self.block(block, frame.scope, out)?,
            Command::Break => return Ok(Flow::Break),
            Command::Continue => return Ok(Flow::Continue),
            Command::Load { tag, template, .. } => {
                self.eval(template, frame.scope)?;
                return fail(format!("{{% {tag} %}}: no loader for this environment specified: a chat template has no other templates"));
            }
        }
        Ok(Flow::Next)
    }

    fn captured(&self, body: &[Statement], scope: &Rc<Scope>) -> Result<(String, Flow)> {
        let mut text = String::new();
        let flow = self.run(body, Frame { scope, is_top: false }, &mut text)?;
        Ok((text, flow))
    }

    fn block_text(&self, text: &str) -> Value {
        match self.autoescape.get() {
            true => Value::markup(text),
            false => Value::text(text),
        }
    }

    fn generation(&self, node: &Arc<MacroNode>, scope: &Rc<Scope>, out: &mut String) -> Result<()> {
        let caller =
            Macro { name: None, node: node.clone(), scope: scope.clone(), is_caller: true };
        let text = self.call_macro(&caller, vec![], vec![])?;
        let text = text.as_str().unwrap_or_default();
        let Some((open, close)) = self.marks else { return self.write(out, text) };
        self.write(out, open.encode_utf8(&mut [0; 4]))?;
        self.write(out, text)?;
        self.write(out, close.encode_utf8(&mut [0; 4]))
    }

    fn block(&self, block: &Arc<BlockNode>, scope: &Rc<Scope>, out: &mut String) -> Result<()> {
        if block.required {
            return fail(format!("Required block '{}' not found", block.name));
        }
        let text = self.block_rendered(block, block.scoped.then_some(scope))?;
        self.write(out, &text)
    }

    /// A block sees what the template set at its top, and more only if it is scoped.
    pub fn block_rendered(&self, block: &BlockNode, around: Option<&Rc<Scope>>) -> Result<String> {
        let resolve = |name: &str| {
            let local = around.and_then(|scope| scope.get(name));
            local.or_else(|| self.resolve(name))
        };
        let scope = Scope::enter(&self.template.scopes[block.scope], None, resolve);
        self.call(|| Ok(self.captured(&block.body, &scope)?.0))
    }

    fn check_namespaces(&self, target: &Target, scope: &Rc<Scope>) -> Result<()> {
        match target {
            Target::Name(_) => Ok(()),
            Target::Namespace(name, _) => match scope.get(name) {
                Some(Value::Namespace(_)) => Ok(()),
                _ => fail("cannot assign attribute on non-namespace object"),
            },
            Target::Tuple(targets) => {
                targets.iter().try_for_each(|target| self.check_namespaces(target, scope))
            }
        }
    }

    pub fn assign(&self, target: &Target, value: Value, frame: Frame) -> Result<()> {
        match target {
            Target::Name(name) => {
                if frame.is_top {
                    self.exported.borrow_mut().retain(|(known, _)| known != name);
                    self.exported.borrow_mut().push((name.clone(), value.clone()));
                }
                frame.scope.set(name, Some(value));
            }
            Target::Namespace(name, attribute) => {
                let Some(Value::Namespace(namespace)) = frame.scope.get(name) else {
                    return fail("cannot assign attribute on non-namespace object");
                };
                super::globals::check_name(attribute)?;
                namespace.set(attribute, value);
            }
            Target::Tuple(targets) => {
                let items = match Items::of(&value) {
                    Ok(_) => collect(self, &value)?,
                    Err(_) => {
                        return fail(format!(
                            "cannot unpack non-iterable {} object",
                            value.type_name()
                        ))
                    }
                };
                if items.len() != targets.len() {
                    return fail(format!(
                        "cannot unpack {} values into {} names",
                        items.len(),
                        targets.len()
                    ));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, frame)?;
                }
            }
        }
        Ok(())
    }

    fn make_macro(&self, node: &Arc<MacroNode>, scope: &Rc<Scope>, is_caller: bool) -> Value {
        self.holders.scopes.borrow_mut().push(scope.clone());
        let name = match is_caller {
            true => Some("caller".into()),
            false => node.name.clone(),
        };
        Value::Macro(Rc::new(Macro { name, node: node.clone(), scope: scope.clone(), is_caller }))
    }

    pub fn call_macro(
        &self,
        called: &Macro,
        positional: Vec<Value>,
        named: Vec<(Arc<str>, Value)>,
    ) -> Result<Value> {
        let node = &called.node;
        let scope = self.enter(node.scope, Some(&called.scope));
        super::call::bind_macro(self, called, &scope, positional, named)?;
        let first_default = node.parameters.len() - node.defaults.len();
        for (i, name) in node.parameters.iter().enumerate() {
            if scope.get_own(name).is_some() {
                continue;
            }
            let value = match i.checked_sub(first_default) {
                Some(default) => self.eval(&node.defaults[default], &scope)?,
                None => Value::undefined(format!("parameter '{name}' was not provided")),
            };
            scope.set(name, Some(value));
        }
        let text = self.call(|| Ok(self.captured(&node.body, &scope)?.0))?;
        Ok(self.block_text(&text))
    }

    fn for_statement(&self, node: &Arc<ForNode>, frame: Frame, out: &mut String) -> Result<Flow> {
        let over = self.eval(&node.over, frame.scope)?;
        if node.recursive {
            let text = self.recursive_loop(node, frame.scope, &over, 0)?;
            self.write(out, text.as_str().unwrap_or_default())?;
            return Ok(Flow::Next);
        }
        self.for_loop(node, frame.scope, &over, 0, out)
    }

    pub fn recursive_loop(
        &self,
        node: &Arc<ForNode>,
        scope: &Rc<Scope>,
        over: &Value,
        depth: usize,
    ) -> Result<Value> {
        let mut text = String::new();
        self.call(|| self.for_loop(node, scope, over, depth, &mut text))?;
        Ok(self.block_text(&text))
    }

    fn for_loop(
        &self,
        node: &Arc<ForNode>,
        around: &Rc<Scope>,
        over: &Value,
        depth0: usize,
        out: &mut String,
    ) -> Result<Flow> {
        let over = match &node.test {
            Some(_) => self.tested_items(node, around, over)?,
            None => over.clone(),
        };
        let length = match over {
            Value::Loop(_) => None,
            _ => super::iterate::size(self, &over)?,
        };
        let state = Rc::new(LoopState {
            items: RefCell::new(Items::of(&over)?),
            length: Cell::new(length),
            after: RefCell::default(),
            current: RefCell::default(),
            before: RefCell::default(),
            changed: RefCell::default(),
            index0: Cell::new(0),
            started: Cell::new(false),
            depth0,
            nested: nested(over.depth() + 1)?,
            recursion: node.recursive.then(|| (node.clone(), around.clone())),
        });
        if node.recursive {
            self.holders.scopes.borrow_mut().push(around.clone());
        }
        let mut ran = false;
        while let Some(item) = state.advance(self)? {
            ran = true;
            let scope = self.enter(node.body_scope, Some(around));
            scope.set("loop", Some(Value::Loop(state.clone())));
            let frame = Frame { scope: &scope, is_top: false };
            self.assign(&node.target, item, frame)?;
            if self.run(&node.body, frame, out)? == Flow::Break {
                break;
            }
        }
        if ran || node.otherwise.is_empty() {
            return Ok(Flow::Next);
        }
        let scope = self.enter(node.else_scope, Some(around));
        self.run(&node.otherwise, Frame { scope: &scope, is_top: false }, out)
    }

    /// The items for which the loop's condition holds, each tested when its turn comes.
    fn tested_items(&self, node: &Arc<ForNode>, around: &Rc<Scope>, over: &Value) -> Result<Value> {
        let (node, around) = (node.clone(), around.clone());
        let mut items = Items::of(over)?;
        Stream::value(over.depth(), move |interp| {
            while let Some(item) = items.next(interp)? {
                let scope = interp.enter(node.test_scope, Some(&around));
                let frame = Frame { scope: &scope, is_top: false };
                interp.assign(&node.target, item.clone(), frame)?;
                let holds = match &node.test {
                    Some(test) => interp.eval(test, &scope)?.is_true(),
                    None => true,
                };
                if holds {
                    return Ok(Some(item));
                }
            }
            Ok(None)
        })
    }
}

/// Whether an error is Python's kind, which some filters catch.
pub fn is_caught(error: &Error) -> bool {
    error.kind == Kind::Runtime
}
