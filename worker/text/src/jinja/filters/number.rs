//! Filters of numbers.

use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::numbers::{parse_float, parse_int, round as round_float, round_digits};
use super::super::ops::{as_float, binary, too_large, Operator};
use super::super::value::Value;
use super::Arguments;

pub fn abs(_: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    match (value, value.as_int()) {
        (Value::Float(float), _) => Ok(Value::Float(float.abs())),
        (_, Some(int)) => Ok(Value::Int(int.saturating_abs())),
        _ => fail(format!("bad operand type for abs(): '{}'", value.type_name())),
    }
}

/// int(float); None for what is no number.
fn whole(float: f64) -> Result<Option<i128>> {
    match float {
        float if !float.is_finite() => Ok(None),
        float if float.abs() >= 1e38 => too_large(),
        float => Ok(Some(float.trunc() as i128)),
    }
}

pub fn int(_: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let default = || arguments.get(0).cloned().unwrap_or(Value::Int(0));
    let made = match (value, value.as_str()) {
        (Value::Undefined(why), _) => return fail(&**why),
        (Value::Float(float), _) if float.is_infinite() => {
            return fail("cannot convert float infinity to integer")
        }
        (Value::Float(float), _) => whole(*float)?,
        (_, Some(text)) => {
            let base = arguments.int(1, 10).ok().and_then(|base| u32::try_from(base).ok());
            let base = base.filter(|base| *base == 0 || (2..=36).contains(base));
            match base.and_then(|base| parse_int(text, base)) {
                Some(int) => Some(int),
                None => parse_float(text).map_or(Ok(None), whole)?,
            }
        }
        _ => value.as_int(),
    };
    Ok(made.map_or_else(default, Value::Int))
}

pub fn float(_: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let made = match value {
        Value::Undefined(why) => return fail(&**why),
        other => other.as_str().map_or_else(|| as_float(other), parse_float),
    };
    let default = || arguments.get(0).cloned().unwrap_or(Value::Float(0.0));
    Ok(made.map_or_else(default, Value::Float))
}

pub fn round(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let method = match arguments.get(1) {
        None => "common",
        Some(method) => method.as_str().unwrap_or(""),
    };
    if !matches!(method, "common" | "ceil" | "floor") {
        return fail("method must be common, ceil or floor");
    }
    if method == "common" {
        let digits = match arguments.get(0) {
            // round(x, None) gives an int.
            Some(Value::None) => None,
            _ => Some(arguments.int(0, 0)?),
        };
        return common(value, digits);
    }
    let power = binary(interp, Operator::Pow, &Value::Int(10), &Value::Int(arguments.int(0, 0)?))?;
    let scaled = binary(interp, Operator::Mul, value, &power)?;
    let Some(scaled_float) = as_float(&scaled) else {
        return fail(format!("must be real number, not {}", value.type_name()));
    };
    let stepped = match (scaled.as_int(), method) {
        (Some(int), _) => Some(int),
        (None, "ceil") => whole(scaled_float.ceil())?,
        _ => whole(scaled_float.floor())?,
    };
    let Some(stepped) = stepped else { return fail("cannot convert float to integer") };
    binary(interp, Operator::Div, &Value::Int(stepped), &power)
}

fn common(value: &Value, digits: Option<i128>) -> Result<Value> {
    match (value, value.as_int(), digits) {
        (Value::Float(float), _, Some(digits)) => Ok(Value::Float(round_float(*float, digits))),
        (Value::Float(float), _, None) => match whole(round_float(*float, 0))? {
            Some(int) => Ok(Value::Int(int)),
            None => fail("cannot convert float infinity or NaN to integer"),
        },
        (_, Some(int), Some(digits)) if digits < 0 => {
            let text = int.unsigned_abs().to_string();
            let drop = usize::try_from(-digits).unwrap_or(usize::MAX).min(60);
            let rounded: i128 = round_digits(&text, drop, false).parse().unwrap_or(0);
            Ok(Value::Int(if int < 0 { -rounded } else { rounded }))
        }
        (_, Some(int), _) => Ok(Value::Int(int)),
        _ => fail(format!("type {} doesn't define __round__ method", value.type_name())),
    }
}

pub fn filesizeformat(_: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let size = match value {
        Value::Undefined(why) => return fail(&**why),
        other => other.as_str().map_or_else(|| as_float(other), parse_float),
    };
    let Some(size) = size else {
        return fail(format!("could not convert {} to float", value.type_name()));
    };
    let binary = arguments.flag(0);
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if size == 1.0 {
        return Ok(Value::text("1 Byte"));
    }
    if size < base {
        return Ok(Value::text(format!("{} Bytes", size.trunc())));
    }
    let prefixes = match binary {
        true => ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
        false => ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
    };
    let mut unit = base * base;
    for (i, prefix) in prefixes.iter().enumerate() {
        if size < unit || i + 1 == prefixes.len() {
            return Ok(Value::text(format!("{:.1} {prefix}", base * size / unit)));
        }
        unit *= base;
    }
    Ok(Value::text(""))
}
