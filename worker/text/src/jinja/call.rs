//! Calls: their arguments, and what can be called.

use super::ast::Arguments;
use super::error::{fail, Result};
use super::interp::Interp;
use super::iterate::collect;
use super::objects::Macro;
use super::scope::Scope;
use super::value::Value;
use super::{globals, methods};
use std::rc::Rc;
use std::sync::Arc;

/// The arguments of a call.
#[derive(Default)]
pub struct Given {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Given {
    /// A value per parameter, None where it was not given.
    pub fn bind(
        self,
        what: &str,
        parameters: &[&str],
        required: usize,
    ) -> Result<Vec<Option<Value>>> {
        if self.positional.len() > parameters.len() {
            return fail(format!(
                "{what} takes at most {} arguments, {} were given",
                parameters.len(),
                self.positional.len()
            ));
        }
        let mut bound: Vec<Option<Value>> = self.positional.into_iter().map(Some).collect();
        bound.resize(parameters.len(), None);
        for (name, value) in self.named {
            // A parameter whose name begins with "/" is positional only.
            match parameters.iter().position(|parameter| *parameter == &*name) {
                Some(at) if bound[at].is_some() => {
                    return fail(format!("{what} got multiple values for argument '{name}'"))
                }
                Some(at) => bound[at] = Some(value),
                None => return fail(format!("{what} got an unexpected keyword argument '{name}'")),
            }
        }
        match bound[..required].iter().position(Option::is_none) {
            Some(at) => fail(format!("{what} misses its argument '{}'", parameters[at])),
            None => Ok(bound),
        }
    }

    pub fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(known, _)| &**known == name)?;
        Some(self.named.remove(at).1)
    }
}

impl Interp {
    pub fn given(&self, arguments: &Arguments, scope: &Rc<Scope>) -> Result<Given> {
        let mut given = Given::default();
        for expr in &arguments.positional {
            given.positional.push(self.eval(expr, scope)?);
        }
        for (name, expr) in &arguments.named {
            given.named.push((name.clone(), self.eval(expr, scope)?));
        }
        if let Some(splat) = &arguments.splat {
            let more = self.eval(splat, scope)?;
            given.positional.extend(collect(self, &more)?);
        }
        if let Some(splat) = &arguments.named_splat {
            let more = self.eval(splat, scope)?;
            let Value::Dict(dict) = &more else {
                return fail(format!(
                    "argument after ** must be a mapping, not {}",
                    more.type_name()
                ));
            };
            for (key, value) in &dict.entries {
                let Some(name) = key.as_str() else { return fail("keywords must be strings") };
                if given.named.iter().any(|(known, _)| &**known == name) {
                    return fail(format!("got multiple values for keyword argument '{name}'"));
                }
                given.named.push((name.into(), value.clone()));
            }
        }
        Ok(given)
    }

    pub fn call_value(&self, called: &Value, given: Given) -> Result<Value> {
        self.meter.spend(1)?;
        match called {
            Value::Macro(called) => self.call_macro(called, given.positional, given.named),
            Value::Method(method) => methods::call(self, &method.0, method.1, given),
            Value::Function(function) => globals::call(self, function, given),
            Value::Loop(state) => {
                let bound = given.bind("loop", &["iterable"], 1)?;
                let Some((node, scope)) = &state.recursion else {
                    return fail(
                        "The loop must have the 'recursive' marker to be called recursively.",
                    );
                };
                let over = bound[0].clone().unwrap_or(Value::None);
                self.recursive_loop(node, scope, &over, state.depth0 + 1)
            }
            Value::Joiner(joiner) => {
                given.bind("joiner", &[], 0)?;
                match joiner.used.replace(true) {
                    true => Ok(joiner.separator.clone()),
                    false => Ok(Value::text("")),
                }
            }
            Value::Undefined(why) => fail(&**why),
            _ => fail(format!("'{}' object is not callable", called.type_name())),
        }
    }
}

/// Sets a macro's parameters; those not given stay missing.
pub fn bind_macro(
    interp: &Interp,
    called: &Macro,
    scope: &Scope,
    mut positional: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
) -> Result<()> {
    let node = &called.node;
    let name = called.name.as_deref().unwrap_or("anonymous");
    let mut given = Given { positional: vec![], named };
    let rest = positional.split_off(positional.len().min(node.parameters.len()));
    let filled = positional.len();
    for (parameter, value) in node.parameters.iter().zip(positional) {
        scope.set(parameter, Some(value));
    }
    for parameter in &node.parameters[filled..] {
        scope.set(parameter, given.take_named(parameter));
    }
    let has_caller = node.parameters.iter().any(|parameter| &**parameter == "caller");
    if node.caller && !has_caller {
        let caller = match given.take_named("caller") {
            Some(Value::None) | None => Value::undefined("No caller defined"),
            Some(caller) => caller,
        };
        scope.set("caller", Some(caller));
    }
    if node.kwargs {
        let pairs = given.named.into_iter().map(|(name, value)| (Value::Str(name), value));
        scope.set("kwargs", Some(super::dict::Dict::value(&interp.meter, pairs.collect())?));
    } else if let Some((unknown, _)) = given.named.first() {
        return fail(format!("macro '{name}' takes no keyword argument '{unknown}'"));
    }
    if node.varargs {
        scope.set("varargs", Some(Value::tuple(rest)?));
    } else if !rest.is_empty() {
        let most = node.parameters.len();
        return fail(format!("macro '{name}' takes not more than {most} argument(s)"));
    }
    Ok(())
}
