//! Methods of Python's values. Those that would change a list or a dict are kept from templates.

use super::call::Given;
use super::dict::Dict;
use super::error::{fail, Result};
use super::interp::Interp;
use super::iterate::{collect, contains};
use super::ops::{equal, is_same};
use super::str_methods;
use super::value::{Value, View};
use std::rc::Rc;

const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const VIEW: [&str; 1] = ["isdisjoint"];
const INT: [&str; 4] = ["as_integer_ratio", "bit_count", "bit_length", "conjugate"];
const FLOAT: [&str; 3] = ["as_integer_ratio", "conjugate", "is_integer"];
const CYCLER: [&str; 2] = ["next", "reset"];
const LOOP: [&str; 2] = ["changed", "cycle"];

/// The method of that name, bound to its value.
pub fn find(value: &Value, name: &str) -> Option<Value> {
    let known: &[&'static str] = match value {
        Value::Str(_) | Value::Markup(_) => {
            if let ("striptags" | "unescape" | "escape", false) = (name, value.is_markup()) {
                return None;
            }
            &str_methods::NAMES
        }
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &TUPLE,
        Value::Dict(_) => &DICT,
        Value::View(_, View::Keys | View::Items) => &VIEW,
        Value::Int(_) | Value::Bool(_) => &INT,
        Value::Float(_) => &FLOAT,
        Value::Cycler(_) => &CYCLER,
        Value::Loop(_) => &LOOP,
        Value::Function(super::objects::Function::Dict) => &["fromkeys"],
        _ => return None,
    };
    let name = known.iter().find(|known| **known == name)?;
    Some(Value::Method(Rc::new((value.clone(), name))))
}

/// Whether it is the name of a method that changes the value.
pub fn changes(value: &Value, name: &str) -> bool {
    match value {
        Value::List(_) => matches!(
            name,
            "append" | "clear" | "pop" | "reverse" | "insert" | "sort" | "extend" | "remove"
        ),
        Value::Dict(_) => matches!(name, "clear" | "pop" | "popitem" | "setdefault" | "update"),
        _ => false,
    }
}

pub fn call(interp: &Interp, value: &Value, name: &'static str, given: Given) -> Result<Value> {
    match value {
        Value::Str(_) | Value::Markup(_) => str_methods::call(interp, value, name, given),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            of_sequence(interp, value, name, given)
        }
        Value::Dict(dict) => of_dict(interp, dict, name, given),
        Value::Function(_) => from_keys(interp, given),
        Value::View(..) => {
            let bound = given.bind(name, &["other"], 1)?;
            for item in collect(interp, value)? {
                if contains(interp, bound[0].as_ref().unwrap_or(&Value::None), &item)? {
                    return Ok(Value::Bool(false));
                }
            }
            Ok(Value::Bool(true))
        }
        Value::Cycler(cycler) => {
            given.bind(name, &[], 0)?;
            let now = cycler.items[cycler.at.get()].clone();
            let next = (cycler.at.get() + 1) % cycler.items.len();
            cycler.at.set(if name == "next" { next } else { 0 });
            Ok(if name == "next" { now } else { Value::None })
        }
        Value::Loop(state) => {
            let items = given.bind_all(name)?;
            if name == "cycle" {
                if items.is_empty() {
                    return fail("no items for cycling given");
                }
                return Ok(items[state.index0.get() % items.len()].clone());
            }
            let now = Value::tuple(items)?;
            let before = state.changed.replace(Some(now.clone()));
            let same = match before {
                Some(before) => equal(&interp.meter, &before, &now)?,
                None => false,
            };
            Ok(Value::Bool(!same))
        }
        _ => {
            given.bind(name, &[], 0)?;
            of_number(value, name)
        }
    }
}

fn of_number(value: &Value, name: &str) -> Result<Value> {
    if let (Value::Float(float), "is_integer") = (value, name) {
        return Ok(Value::Bool(float.is_finite() && float.fract() == 0.0));
    }
    if name == "conjugate" {
        return Ok(value.as_int().map_or_else(|| value.clone(), Value::Int));
    }
    let Some(int) = value.as_int() else {
        return fail("float.as_integer_ratio is not supported in templates");
    };
    let magnitude = int.unsigned_abs();
    Ok(match name {
        "bit_length" => Value::Int(i128::from(u128::BITS - magnitude.leading_zeros())),
        "bit_count" => Value::Int(i128::from(magnitude.count_ones())),
        _ => Value::tuple(vec![Value::Int(int), Value::Int(1)])?,
    })
}

fn of_sequence(interp: &Interp, value: &Value, name: &str, given: Given) -> Result<Value> {
    if name == "copy" {
        given.bind(name, &[], 0)?;
        return Value::list(collect(interp, value)?);
    }
    let items = collect(interp, value)?;
    let names: &[&str] = if name == "count" { &["/x"] } else { &["/x", "/start", "/stop"] };
    let bound = given.bind(name, names, 1)?;
    let wanted = bound[0].clone().unwrap_or(Value::None);
    let edge = |at: Option<&Option<Value>>, default: usize| match at {
        Some(Some(at)) => match at.as_int() {
            Some(at) if at < 0 => Ok((at + items.len() as i128).max(0) as usize),
            Some(at) => Ok(at.min(items.len() as i128) as usize),
            None => fail("slice indices must be integers or have an __index__ method"),
        },
        _ => Ok(default),
    };
    let (start, stop) = (edge(bound.get(1), 0)?, edge(bound.get(2), items.len())?);
    let mut count = 0;
    for (at, item) in items.iter().enumerate().take(stop).skip(start) {
        if is_same(item, &wanted) || equal(&interp.meter, item, &wanted)? {
            if name == "index" {
                return Ok(Value::int(at));
            }
            count += 1;
        }
    }
    match name {
        "count" => Ok(Value::int(count)),
        _ => fail(format!("{} is not in list", super::repr::repr_of(interp, &wanted)?)),
    }
}

fn of_dict(interp: &Interp, dict: &Rc<Dict>, name: &str, given: Given) -> Result<Value> {
    match name {
        "get" => {
            let bound = given.bind("get", &["/key", "/default"], 1)?;
            let found = dict.get(&interp.meter, bound[0].as_ref().unwrap_or(&Value::None))?;
            Ok(found.cloned().or_else(|| bound[1].clone()).unwrap_or(Value::None))
        }
        "fromkeys" => from_keys(interp, given),
        _ => {
            given.bind(name, &[], 0)?;
            let view = match name {
                "items" => View::Items,
                "values" => View::Values,
                "keys" => View::Keys,
                _ => return Dict::value(&interp.meter, dict.entries.clone()),
            };
            Ok(Value::View(dict.clone(), view))
        }
    }
}

fn from_keys(interp: &Interp, given: Given) -> Result<Value> {
    let bound = given.bind("fromkeys", &["/keys", "/value"], 1)?;
    let value = bound[1].clone().unwrap_or(Value::None);
    let keys = collect(interp, bound[0].as_ref().unwrap_or(&Value::None))?;
    Dict::value(&interp.meter, keys.into_iter().map(|key| (key, value.clone())).collect())
}
