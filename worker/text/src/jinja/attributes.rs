//! `value.name`, `value[index]` and slices, as the immutable sandbox allows them.

use super::dict::found;
use super::error::{fail, Result};
use super::interp::Interp;
use super::iterate::size;
use super::methods;
use super::objects::{Function, LoopState};
use super::repr::{repr_of, text_of};
use super::value::{Range, Value};
use std::rc::Rc;
use std::sync::Arc;

fn missing(interp: &Interp, value: &Value, name: &Value) -> Result<Value> {
    let what = match value {
        Value::None => "None".to_string(),
        other => format!("{} object", other.type_name()),
    };
    Ok(match name.as_str() {
        Some(name) => Value::undefined(format!("'{what}' has no attribute '{name}'")),
        None => Value::undefined(format!("{what} has no element {}", repr_of(interp, name)?)),
    })
}

/// Python's getattr; None where there is no such attribute.
fn own(interp: &Interp, value: &Value, name: &str) -> Result<Option<Value>> {
    Ok(match value {
        Value::Undefined(why) if !name.starts_with("__") => return fail(&**why),
        Value::Namespace(namespace) => namespace.get(name),
        Value::Loop(state) => of_loop(interp, state, name)?,
        Value::Cycler(cycler) if name == "current" => Some(cycler.items[cycler.at.get()].clone()),
        Value::Cycler(cycler) if name == "pos" => Some(Value::int(cycler.at.get())),
        Value::Cycler(cycler) if name == "items" => Some(Value::tuple(cycler.items.clone())?),
        Value::Joiner(joiner) if name == "sep" => Some(joiner.separator.clone()),
        Value::Joiner(joiner) if name == "used" => Some(Value::Bool(joiner.used.get())),
        Value::Macro(called) => match name {
            "name" => Some(called.name.clone().map_or(Value::None, Value::Str)),
            "arguments" => {
                let names = called.node.parameters.iter().cloned().map(Value::Str);
                Some(Value::tuple(names.collect())?)
            }
            "catch_kwargs" => Some(Value::Bool(called.node.kwargs)),
            "catch_varargs" => Some(Value::Bool(called.node.varargs)),
            "caller" => Some(Value::Bool(called.node.caller)),
            _ => None,
        },
        Value::Tuple(list) if list.is_group && name == "grouper" => Some(list.items[0].clone()),
        Value::Tuple(list) if list.is_group && name == "list" => Some(list.items[1].clone()),
        Value::Range(range) => match name {
            "start" => Some(Value::Int(range.start)),
            "stop" => Some(Value::Int(range.stop)),
            "step" => Some(Value::Int(range.step)),
            _ => methods::find(value, name),
        },
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => match (name, value) {
            ("real", Value::Float(_)) => Some(value.clone()),
            ("imag", Value::Float(_)) => Some(Value::Float(0.0)),
            ("real" | "numerator", _) => value.as_int().map(Value::Int),
            ("imag", _) => Some(Value::Int(0)),
            ("denominator", _) => value.as_int().map(|_| Value::Int(1)),
            _ => methods::find(value, name),
        },
        Value::Function(Function::Blocks) => {
            let block = interp.template.blocks.iter().find(|block| &*block.name == name);
            block.map(|block| Value::Function(Function::Block(block.name.clone())))
        }
        _ => methods::find(value, name),
    })
}

fn of_loop(interp: &Interp, state: &Rc<LoopState>, name: &str) -> Result<Option<Value>> {
    let size = || state.size(interp);
    let index = state.index0.get();
    let missing = |what: &str| Value::undefined(format!("there is no {what} item"));
    Ok(Some(match name {
        "index" => Value::int(index + 1),
        "index0" => Value::int(index),
        "revindex" => Value::Int(size()? as i128 - index as i128),
        "revindex0" => Value::Int(size()? as i128 - index as i128 - 1),
        "first" => Value::Bool(index == 0),
        "last" => Value::Bool(state.peek(interp)?.is_none()),
        "length" => Value::int(size()?),
        "depth" => Value::int(state.depth0 + 1),
        "depth0" => Value::int(state.depth0),
        "previtem" => state.before.borrow().clone().unwrap_or_else(|| missing("previous")),
        "nextitem" => state.peek(interp)?.unwrap_or_else(|| missing("next")),
        _ => return Ok(methods::find(&Value::Loop(state.clone()), name)),
    }))
}

/// Names the sandbox keeps from templates.
fn is_unsafe(value: &Value, name: &str) -> bool {
    name.starts_with('_') || methods::changes(value, name)
}

fn refused(value: &Value, name: &str) -> Value {
    let kind = value.type_name();
    Value::undefined(format!("access to attribute '{name}' of '{kind}' object is unsafe."))
}

/// `value.name`: an attribute, or else an item.
pub fn attribute(interp: &Interp, value: &Value, name: &Arc<str>) -> Result<Value> {
    if let Some(found) = own(interp, value, name)? {
        return Ok(found);
    }
    if methods::changes(value, name) {
        return Ok(refused(value, name));
    }
    match by_index(interp, value, &Value::Str(name.clone()))? {
        Some(found) => Ok(found),
        None if is_unsafe(value, name) => Ok(refused(value, name)),
        None => missing(interp, value, &Value::Str(name.clone())),
    }
}

/// `value|attr(name)`: an attribute only.
pub fn only_attribute(interp: &Interp, value: &Value, name: &str) -> Result<Value> {
    match own(interp, value, name)? {
        Some(found) => Ok(found),
        None => missing(interp, value, &Value::text(name)),
    }
}

/// `value[index]`: an item, or else an attribute.
pub fn item(interp: &Interp, value: &Value, index: &Value) -> Result<Value> {
    if let Some(found) = by_index(interp, value, index)? {
        return Ok(found);
    }
    if let Some(name) = index.as_str() {
        if let Some(found) = own(interp, value, name)? {
            return Ok(found);
        }
        if is_unsafe(value, name) {
            return Ok(refused(value, name));
        }
    }
    missing(interp, value, index)
}

fn place(index: &Value, size: usize) -> Option<usize> {
    let index = index.as_int()?;
    let at = if index < 0 { index + size as i128 } else { index };
    usize::try_from(at).ok().filter(|at| *at < size)
}

/// value[index]; None where Python raises TypeError or LookupError.
fn by_index(interp: &Interp, value: &Value, index: &Value) -> Result<Option<Value>> {
    Ok(match value {
        Value::Undefined(why) => return fail(&**why),
        Value::Dict(dict) => return found(dict.get(&interp.meter, index)),
        Value::List(list) | Value::Tuple(list) => {
            place(index, list.items.len()).map(|at| list.items[at].clone())
        }
        Value::Str(text) | Value::Markup(text) => {
            let Some(_) = index.as_int() else { return Ok(None) };
            let Some(length) = size(interp, value)? else { return Ok(None) };
            let at = place(index, length).and_then(|at| text.chars().nth(at));
            at.map(|c| Value::text_like(value, c.encode_utf8(&mut [0; 4])))
        }
        Value::Range(range) => {
            let length = usize::try_from(range.size()).unwrap_or(0);
            place(index, length).map(|at| range.at(at as i128))
        }
        _ => None,
    })
}

/// Where a slice begins and ends, as slice.indices has it, and how many it takes.
fn indices(
    size: usize,
    start: Option<i128>,
    stop: Option<i128>,
    step: i128,
) -> (i128, i128, usize) {
    let size = size as i128;
    let (low, high) = if step < 0 { (-1, size - 1) } else { (0, size) };
    let bound = |value: Option<i128>, default: i128| match value {
        None => default,
        Some(at) if at < 0 => (at + size).max(low),
        Some(at) => at.min(high),
    };
    let start = bound(start, if step < 0 { high } else { low });
    let stop = bound(stop, if step < 0 { low } else { high });
    let range = Range { start, stop, step };
    (start, stop, usize::try_from(range.size()).unwrap_or(0))
}

pub fn slice(
    interp: &Interp,
    value: &Value,
    start: Option<i128>,
    stop: Option<i128>,
    step: Option<i128>,
) -> Result<Value> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    // Bounds no value reaches; so large a step takes the first.
    let step = step.clamp(-(1 << 64), 1 << 64);
    let clamped = |at: Option<i128>| at.map(|at| at.clamp(-(1 << 64), 1 << 64));
    let (start, stop) = (clamped(start), clamped(stop));
    let size = match value {
        Value::Undefined(why) => return fail(&**why),
        Value::Str(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            size(interp, value)?.unwrap_or(0)
        }
        _ => return fail(format!("'{}' object is not subscriptable", value.type_name())),
    };
    let (start, stop, count) = indices(size, start, stop, step);
    interp.meter.spend(count as u64 / 8)?;
    let places = (0..count as i128).map(|i| (start + i * step) as usize);
    match value {
        Value::List(list) => Value::list(places.map(|at| list.items[at].clone()).collect()),
        Value::Tuple(list) => Value::tuple(places.map(|at| list.items[at].clone()).collect()),
        Value::Range(range) => match range.step.checked_mul(step) {
            Some(step) if step.unsigned_abs() < 1 << 80 => Ok(Value::Range(Rc::new(Range {
                start: range.start + start * range.step,
                stop: range.start + stop * range.step,
                step,
            }))),
            _ => super::ops::too_large(),
        },
        _ => {
            let text = text_of(interp, value)?;
            let part: String = match step {
                1 => text.chars().skip(start as usize).take(count).collect(),
                _ => {
                    let chars: Vec<char> = text.chars().collect();
                    places.map(|at| chars[at]).collect()
                }
            };
            Ok(Value::text_like(value, part))
        }
    }
}
