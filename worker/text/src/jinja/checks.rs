//! The tests of Jinja 3.1.6, what stands behind `is`.

use super::ast::Comparison;
use super::call::Given;
use super::error::{fail, Result};
use super::filters;
use super::interp::Interp;
use super::iterate::Items;
use super::objects::Function;
use super::ops::{binary, equal, is_same, Operator};
use super::repr::text_of;
use super::str_methods;
use super::value::Value;

/// Tests of a value alone.
const PLAIN: [&str; 21] = [
    "boolean",
    "callable",
    "defined",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "integer",
    "iterable",
    "lower",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];
/// Tests that take another value.
const PAIRED: [(&str, Pair); 18] = [
    ("divisibleby", Pair::Divisible),
    ("sameas", Pair::Same),
    ("in", Pair::Compare(Comparison::In)),
    ("==", Pair::Compare(Comparison::Eq)),
    ("eq", Pair::Compare(Comparison::Eq)),
    ("equalto", Pair::Compare(Comparison::Eq)),
    ("!=", Pair::Compare(Comparison::Ne)),
    ("ne", Pair::Compare(Comparison::Ne)),
    (">", Pair::Compare(Comparison::Gt)),
    ("gt", Pair::Compare(Comparison::Gt)),
    ("greaterthan", Pair::Compare(Comparison::Gt)),
    ("ge", Pair::Compare(Comparison::Ge)),
    (">=", Pair::Compare(Comparison::Ge)),
    ("<", Pair::Compare(Comparison::Lt)),
    ("lt", Pair::Compare(Comparison::Lt)),
    ("lessthan", Pair::Compare(Comparison::Lt)),
    ("<=", Pair::Compare(Comparison::Le)),
    ("le", Pair::Compare(Comparison::Le)),
];

#[derive(Clone, Copy)]
enum Pair {
    Divisible,
    Same,
    Compare(Comparison),
}

pub fn exists(name: &str) -> bool {
    PLAIN.contains(&name) || PAIRED.iter().any(|(known, _)| *known == name)
}

pub fn check(interp: &Interp, name: &str, value: &Value, given: Given) -> Result<bool> {
    interp.meter.spend(1)?;
    if let Some((_, pair)) = PAIRED.iter().find(|(known, _)| *known == name) {
        let named: &[&str] = match pair {
            Pair::Divisible => &["num"],
            Pair::Same => &["other"],
            Pair::Compare(Comparison::In) => &["seq"],
            Pair::Compare(_) => &["/b"],
        };
        let bound = given.bind(name, named, 1)?;
        let other = bound[0].clone().unwrap_or(Value::None);
        return match pair {
            Pair::Divisible => rest_is(interp, value, &other, 0),
            Pair::Same => Ok(is_same(value, &other)),
            Pair::Compare(op) => interp.compare(*op, value, &other),
        };
    }
    if !PLAIN.contains(&name) {
        return fail(format!("No test named '{name}' found."));
    }
    given.bind(name, &[], 0)?;
    plain(interp, name, value)
}

fn rest_is(interp: &Interp, value: &Value, divisor: &Value, wanted: i128) -> Result<bool> {
    let rest = binary(interp, Operator::Mod, value, divisor)?;
    equal(&interp.meter, &rest, &Value::Int(wanted))
}

fn plain(interp: &Interp, name: &str, value: &Value) -> Result<bool> {
    let cased = |method| -> Result<bool> {
        let text = Value::text(text_of(interp, value)?);
        Ok(str_methods::call(interp, &text, method, Given::default())?.is_true())
    };
    let named = |exists: fn(&str) -> bool| match value {
        Value::List(_) | Value::Dict(_) | Value::View(..) => super::dict::unhashable(value),
        _ => Ok(value.as_str().is_some_and(exists)),
    };
    Ok(match name {
        "boolean" => matches!(value, Value::Bool(_)),
        "callable" => match value {
            Value::Undefined(_) | Value::Macro(_) | Value::Method(_) | Value::Joiner(_) => true,
            Value::Loop(_) => true,
            Value::Function(function) => *function != Function::Blocks,
            _ => false,
        },
        "defined" => !value.is_undefined(),
        "escaped" => value.is_markup(),
        "even" => rest_is(interp, value, &Value::Int(2), 0)?,
        "odd" => rest_is(interp, value, &Value::Int(2), 1)?,
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "filter" => named(filters::exists)?,
        "test" => named(exists)?,
        "float" => matches!(value, Value::Float(_)),
        "integer" => matches!(value, Value::Int(_)),
        "iterable" => Items::of(value).is_ok(),
        "lower" => cased("islower")?,
        "upper" => cased("isupper")?,
        "mapping" => matches!(value, Value::Dict(_)),
        "none" => matches!(value, Value::None),
        "number" => matches!(value, Value::Int(_) | Value::Bool(_) | Value::Float(_)),
        "sequence" => matches!(
            value,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::Markup(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
        ),
        "string" => value.as_str().is_some(),
        _ => value.is_undefined(),
    })
}
