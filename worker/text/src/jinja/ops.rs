//! Python's operators: equality, order, hashes and arithmetic.

use super::dict::unhashable;
use super::error::{fail, Meter, Result};
use super::html;
use super::interp::Interp;
use super::percent;
use super::value::{List, Value, View};
use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

pub fn equal(meter: &Meter, a: &Value, b: &Value) -> Result<bool> {
    meter.spend(1)?;
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        meter.text(a.len().min(b.len()))?;
        return Ok(a == b);
    }
    if let Some(order) = number_order(a, b) {
        return Ok(order == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            Rc::ptr_eq(a, b) || equal_items(meter, &a.items, &b.items)?
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match b.get(meter, key)? {
                    Some(other) if equal(meter, value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::View(a, View::Keys), Value::View(b, View::Keys)) => {
            let mut same = a.entries.len() == b.entries.len();
            for (key, _) in &a.entries {
                same = same && b.get(meter, key)?.is_some();
            }
            same
        }
        (Value::View(a, View::Items), Value::View(b, View::Items)) => {
            equal(meter, &Value::Dict(a.clone()), &Value::Dict(b.clone()))?
        }
        (Value::Range(a), Value::Range(b)) => {
            a.size() == b.size()
                && (a.size() == 0 || a.start == b.start)
                && (a.size() < 2 || a.step == b.step)
        }
        _ => is_same(a, b),
    })
}

fn equal_items(meter: &Meter, a: &[Value], b: &[Value]) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !is_same(a, b) && !equal(meter, a, b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Python's `is`, as far as it can be told: small values of one type that are equal are one.
pub fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Markup(a), Value::Markup(b)) => std::sync::Arc::ptr_eq(a, b),
        (Value::Undefined(a), Value::Undefined(b)) => Rc::ptr_eq(a, b),
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => {
            Rc::ptr_eq(a, b) || a.items.is_empty() && b.items.is_empty()
        }
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Stream(a), Value::Stream(b)) => Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (Value::Cycler(a), Value::Cycler(b)) => Rc::ptr_eq(a, b),
        (Value::Joiner(a), Value::Joiner(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => a == b,
        _ => false,
    }
}

/// The order of two numbers; None if one is none, Some(None) for NaN.
fn number_order(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    let int_and_float = |int: i128, float: f64| {
        if float.is_nan() {
            return None;
        }
        if float.abs() >= 1e38 {
            return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
        }
        let whole = float.trunc() as i128;
        Some(int.cmp(&whole).then(0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal)))
    };
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Some(a.partial_cmp(b)),
        (Value::Float(float), other) => {
            Some(int_and_float(other.as_int()?, *float).map(Ordering::reverse))
        }
        (other, Value::Float(float)) => Some(int_and_float(other.as_int()?, *float)),
        _ => Some(Some(a.as_int()?.cmp(&b.as_int()?))),
    }
}

/// The order of two values of kinds that have one; None where no order holds (NaN).
pub fn order(meter: &Meter, sign: &str, a: &Value, b: &Value) -> Result<Option<Ordering>> {
    meter.spend(1)?;
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        meter.text(a.len().min(b.len()))?;
        return Ok(Some(a.cmp(b)));
    }
    if let Some(order) = number_order(a, b) {
        return Ok(order);
    }
    match (a, b) {
        (Value::Undefined(why), _) | (_, Value::Undefined(why)) => fail(&**why),
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            for (x, y) in x.items.iter().zip(&y.items) {
                if !is_same(x, y) && !equal(meter, x, y)? {
                    return order(meter, sign, x, y);
                }
            }
            Ok(Some(x.items.len().cmp(&y.items.len())))
        }
        _ => fail(format!(
            "'{sign}' not supported between instances of '{}' and '{}'",
            a.type_name(),
            b.type_name()
        )),
    }
}

pub fn less(meter: &Meter, a: &Value, b: &Value) -> Result<bool> {
    Ok(order(meter, "<", a, b)? == Some(Ordering::Less))
}

/// Equal values have equal hashes.
pub fn hash(meter: &Meter, value: &Value) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    feed(meter, value, &mut hasher)?;
    Ok(hasher.finish())
}

fn feed(meter: &Meter, value: &Value, hasher: &mut DefaultHasher) -> Result<()> {
    meter.spend(1)?;
    match value {
        Value::Str(text) | Value::Markup(text) => {
            meter.text(text.len())?;
            text.hash(hasher);
        }
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 1e38 => {
            (*float as i128).hash(hasher)
        }
        Value::Float(float) => float.to_bits().hash(hasher),
        Value::Tuple(list) => {
            for item in &list.items {
                feed(meter, item, hasher)?;
            }
        }
        Value::List(_) | Value::Dict(_) | Value::View(..) => return unhashable(value),
        other => other.as_int().unwrap_or(1 << 90).hash(hasher),
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

impl Operator {
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Sub => "-",
            Operator::Mul => "*",
            Operator::Div => "/",
            Operator::FloorDiv => "//",
            Operator::Mod => "%",
            Operator::Pow => "** or pow()",
        }
    }
}

pub fn binary(interp: &Interp, op: Operator, a: &Value, b: &Value) -> Result<Value> {
    interp.meter.spend(1)?;
    if op == Operator::Mod && a.as_str().is_some() {
        return percent::format(interp, a, b);
    }
    if let (Value::Undefined(why), _) | (_, Value::Undefined(why)) = (a, b) {
        return fail(&**why);
    }
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return ints(op, a, b);
    }
    if let (Some(a), Some(b)) = (as_float(a), as_float(b)) {
        return floats(op, a, b);
    }
    match (op, a, b) {
        (Operator::Add, ..) => add(interp, a, b),
        (Operator::Mul, ..) if b.as_int().is_some() => repeat(interp, a, b),
        (Operator::Mul, ..) if a.as_int().is_some() => repeat(interp, b, a),
        _ => unsupported(op, a, b),
    }
}

fn unsupported(op: Operator, a: &Value, b: &Value) -> Result<Value> {
    fail(format!(
        "unsupported operand type(s) for {}: '{}' and '{}'",
        op.sign(),
        a.type_name(),
        b.type_name()
    ))
}

fn add(interp: &Interp, a: &Value, b: &Value) -> Result<Value> {
    if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
        interp.meter.text(x.len() + y.len())?;
        if a.is_markup() || b.is_markup() {
            return Ok(Value::markup(html::escape(a).into_owned() + &html::escape(b)));
        }
        return Ok(Value::text([x, y].concat()));
    }
    let joined = |x: &List, y: &List| {
        interp.meter.spend((x.items.len() + y.items.len()) as u64)?;
        Ok(x.items.iter().chain(&y.items).cloned().collect())
    };
    match (a, b) {
        (Value::List(x), Value::List(y)) => Value::list(joined(x, y)?),
        (Value::Tuple(x), Value::Tuple(y)) => Value::tuple(joined(x, y)?),
        _ => unsupported(Operator::Add, a, b),
    }
}

fn repeat(interp: &Interp, value: &Value, count: &Value) -> Result<Value> {
    let times = usize::try_from(count.as_int().unwrap_or(0).max(0)).unwrap_or(usize::MAX);
    let repeated = |items: &[Value]| -> Result<Vec<Value>> {
        interp.meter.spend((items.len() as u64).saturating_mul(times as u64))?;
        let times = if items.is_empty() { 0 } else { times };
        Ok((0..times).flat_map(|_| items.iter().cloned()).collect())
    };
    match value {
        Value::Str(text) | Value::Markup(text) => {
            interp.meter.repeated(text.len(), times)?;
            let times = if text.is_empty() { 0 } else { times };
            Ok(Value::text_like(value, text.repeat(times)))
        }
        Value::List(list) => Value::list(repeated(&list.items)?),
        Value::Tuple(list) => Value::tuple(repeated(&list.items)?),
        _ => unsupported(Operator::Mul, value, count),
    }
}

pub fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(*float),
        other => other.as_int().map(|int| int as f64),
    }
}

pub fn too_large<T>() -> Result<T> {
    fail("integers beyond 128 bits are not supported in templates")
}

fn ints(op: Operator, a: i128, b: i128) -> Result<Value> {
    let whole = |result: Option<i128>| result.map_or_else(too_large, |n| Ok(Value::Int(n)));
    if b == 0 && matches!(op, Operator::Div | Operator::FloorDiv | Operator::Mod) {
        return fail("division by zero");
    }
    match op {
        Operator::Add => whole(a.checked_add(b)),
        Operator::Sub => whole(a.checked_sub(b)),
        Operator::Mul => whole(a.checked_mul(b)),
        Operator::Div => Ok(Value::Float(a as f64 / b as f64)),
        Operator::FloorDiv => {
            let quotient = a.checked_div(b);
            let floors = a.checked_rem(b).unwrap_or(0) != 0 && (a < 0) != (b < 0);
            whole(quotient.map(|q| if floors { q - 1 } else { q }))
        }
        Operator::Mod => {
            let rest = a.checked_rem(b).unwrap_or(0);
            Ok(Value::Int(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        Operator::Pow if b < 0 => floats(op, a as f64, b as f64),
        Operator::Pow => {
            let power = u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
            whole(match (a, power) {
                (0 | 1, None) => Some(a),
                (-1, None) => Some(if b % 2 == 0 { 1 } else { -1 }),
                (_, power) => power,
            })
        }
    }
}

fn floats(op: Operator, a: f64, b: f64) -> Result<Value> {
    if b == 0.0 && matches!(op, Operator::Div | Operator::FloorDiv | Operator::Mod) {
        return fail("float division by zero");
    }
    Ok(Value::Float(match op {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::FloorDiv => floor_and_rest(a, b).0,
        Operator::Mod => floor_and_rest(a, b).1,
        Operator::Pow if a == 0.0 && b < 0.0 => {
            return fail("0.0 cannot be raised to a negative power")
        }
        Operator::Pow if a < 0.0 && b.fract() != 0.0 && a.is_finite() && b.is_finite() => {
            return fail("complex numbers are not supported in templates")
        }
        Operator::Pow => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return fail("the result of ** is too large");
            }
            power
        }
    }))
}

/// divmod of floats as CPython has it.
fn floor_and_rest(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 {
        if (b < 0.0) != (rest < 0.0) {
            rest += b;
            quotient -= 1.0;
        }
    } else {
        rest = 0.0f64.copysign(b);
    }
    let mut floor = quotient.floor();
    if quotient == 0.0 {
        floor = 0.0f64.copysign(a / b);
    } else if quotient - floor > 0.5 {
        floor += 1.0;
    }
    (floor, rest)
}

pub fn negate(value: &Value) -> Result<Value> {
    match value {
        Value::Float(float) => Ok(Value::Float(-float)),
        Value::Undefined(why) => fail(&**why),
        other => match other.as_int().map(i128::checked_neg) {
            Some(Some(int)) => Ok(Value::Int(int)),
            Some(None) => too_large(),
            None => fail(format!("bad operand type for unary -: '{}'", value.type_name())),
        },
    }
}

pub fn positive(value: &Value) -> Result<Value> {
    match value {
        Value::Float(_) => Ok(value.clone()),
        Value::Undefined(why) => fail(&**why),
        other => match other.as_int() {
            Some(int) => Ok(Value::Int(int)),
            None => fail(format!("bad operand type for unary +: '{}'", value.type_name())),
        },
    }
}

/// Sorts by keys with Python's `<`, keeping the order of equal ones, also in reverse.
pub fn sort(meter: &Meter, items: &mut [(Value, Value)], reverse: bool) -> Result<()> {
    if reverse {
        items.reverse();
    }
    merge_sort(meter, items)?;
    if reverse {
        items.reverse();
    }
    Ok(())
}

fn merge_sort(meter: &Meter, items: &mut [(Value, Value)]) -> Result<()> {
    if items.len() < 2 {
        return Ok(());
    }
    let middle = items.len() / 2;
    merge_sort(meter, &mut items[..middle])?;
    merge_sort(meter, &mut items[middle..])?;
    meter.spend(items.len() as u64)?;
    let (mut left, mut right) = (0, middle);
    let mut merged = Vec::with_capacity(items.len());
    while left < middle && right < items.len() {
        if less(meter, &items[right].0, &items[left].0)? {
            merged.push(items[right].clone());
            right += 1;
        } else {
            merged.push(items[left].clone());
            left += 1;
        }
    }
    merged.extend_from_slice(&items[left..middle]);
    merged.extend_from_slice(&items[right..]);
    items.clone_from_slice(&merged);
    Ok(())
}
