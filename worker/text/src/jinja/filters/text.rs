//! Filters of texts.

use super::super::call::Given;
use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::iterate::{collect, size};
use super::super::ops::binary;
use super::super::repr::text_of;
use super::super::text::{self, Sides};
use super::super::value::Value;
use super::super::{html, percent, str_methods};
use super::attribute::Path;
use super::Arguments;

/// soft_str: a text of its kind, anything else as str() has it.
fn soft(interp: &Interp, value: &Value) -> Result<Value> {
    match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => Ok(Value::text(text_of(interp, value)?)),
    }
}

fn method(interp: &Interp, value: &Value, name: &'static str, given: Vec<Value>) -> Result<Value> {
    let value = soft(interp, value)?;
    str_methods::call(interp, &value, name, Given { positional: given, named: vec![] })
}

pub fn string(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    soft(interp, value)
}

pub fn capitalize(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    method(interp, value, "capitalize", vec![])
}

pub fn lower(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    method(interp, value, "lower", vec![])
}

pub fn upper(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    method(interp, value, "upper", vec![])
}

pub fn center(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let width = arguments.get(0).cloned().unwrap_or(Value::Int(80));
    method(interp, value, "center", vec![width])
}

pub fn trim(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let value = soft(interp, value)?;
    let text = value.as_str().unwrap_or_default();
    interp.meter.text(text.len())?;
    let both = Sides { left: true, right: true };
    Ok(Value::text_like(&value, text::strip(text, arguments.text(0)?, both)))
}

/// Words begin behind white space, "-", "(", "{", "[" and "<": Jinja's rule, not str.title's.
pub fn title(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let text = text_of(interp, value)?;
    interp.meter.text(text.len())?;
    let parts = |c: char| text::is_space(c) || "-({[<".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while !rest.is_empty() {
        let word_end = rest.find(parts).unwrap_or(rest.len());
        let end = match word_end {
            0 => rest.find(|c| !parts(c)).unwrap_or(rest.len()),
            end => end,
        };
        let word = &rest[..end];
        let first = word.chars().next().map_or(0, char::len_utf8);
        out.push_str(&word[..first].to_uppercase());
        out.push_str(&word[first..].to_lowercase());
        rest = &rest[end..];
    }
    Ok(Value::text(out))
}

pub fn format(interp: &Interp, value: &Value, given: Given) -> Result<Value> {
    let text = soft(interp, value)?;
    if !given.positional.is_empty() && !given.named.is_empty() {
        return fail("can't handle positional and keyword arguments at the same time");
    }
    let values = match given.named.is_empty() {
        true => Value::tuple(given.positional)?,
        false => {
            let pairs = given.named.into_iter().map(|(name, value)| (Value::Str(name), value));
            super::super::dict::Dict::value(&interp.meter, pairs.collect())?
        }
    };
    percent::format(interp, &text, &values)
}

pub fn join(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let path = Path::new(arguments.get(1), None)?;
    let mut items = vec![];
    for item in collect(interp, value)? {
        items.push(path.get(interp, &item)?);
    }
    let separator = arguments.get(0).cloned().unwrap_or_else(|| Value::text(""));
    let escapes =
        interp.autoescape.get() && (separator.is_markup() || items.iter().any(Value::is_markup));
    let shown = |value: &Value| {
        let text = text_of(interp, value)?;
        Ok(match escapes && !value.is_markup() {
            true => html::escape_text(&text),
            false => text.into_owned(),
        })
    };
    let between = shown(&separator)?;
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            interp.write(&mut out, &between)?;
        }
        interp.write(&mut out, &shown(item)?)?;
    }
    Ok(if escapes { Value::markup(out) } else { Value::text(out) })
}

pub fn replace(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let count = match arguments.some(2) {
        Some(_) => arguments.int(2, -1)?,
        None => -1,
    };
    let none = Value::None;
    let (old, new) = (arguments.get(0).unwrap_or(&none), arguments.get(1).unwrap_or(&none));
    let plain = |value: &Value| text_of(interp, value).map(|text| text.into_owned());
    if !interp.autoescape.get() {
        let made = str_methods::replace(interp, &plain(value)?, &plain(old)?, &plain(new)?, count)?;
        return Ok(Value::text(made));
    }
    let value = match old.is_markup() || new.is_markup() && !value.is_markup() {
        true if !value.is_markup() => Value::markup(html::escape_text(&plain(value)?)),
        _ => soft(interp, value)?,
    };
    let arguments = vec![soft(interp, old)?, soft(interp, new)?, Value::Int(count)];
    method(interp, &value, "replace", arguments)
}

/// Every line but the first, and not the empty ones, unless asked for.
pub fn indent(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let Some(text) = value.as_str() else {
        return fail(format!("indent: a str is expected, not {}", value.type_name()));
    };
    let width = match arguments.get(0) {
        Some(width) if width.as_str().is_some() => width.as_str().unwrap_or_default().to_string(),
        _ => {
            let width = usize::try_from(arguments.int(0, 4)?.max(0)).unwrap_or(usize::MAX);
            interp.meter.repeated(1, width)?;
            " ".repeat(width)
        }
    };
    let (first, blank) = (arguments.flag(1), arguments.flag(2));
    let whole = [text, "\n"].concat();
    let lines = text::split_lines(&whole, false);
    interp.meter.repeated(width.len(), lines.len())?;
    let mut out = String::with_capacity(text.len());
    if first {
        out.push_str(&width);
    }
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&width);
            }
        }
        interp.write(&mut out, line)?;
    }
    Ok(Value::text_like(value, out))
}

pub fn truncate(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let length = arguments.int(0, 255)?;
    let end = arguments.text(2)?.unwrap_or("...");
    let leeway = match arguments.some(3) {
        Some(_) => arguments.int(3, 5)?,
        None => 5,
    };
    let end_length = end.chars().count() as i128;
    if length < end_length {
        return fail(format!("expected length >= {end_length}, got {length}"));
    }
    if leeway < 0 {
        return fail(format!("expected leeway >= 0, got {leeway}"));
    }
    let Some(whole) = size(interp, value)? else {
        return fail(format!("object of type '{}' has no len()", value.type_name()));
    };
    if whole as i128 <= length + leeway {
        return Ok(value.clone());
    }
    let Some(text) = value.as_str() else {
        return fail(format!("truncate: a str is expected, not {}", value.type_name()));
    };
    let kept: String = text.chars().take((length - end_length) as usize).collect();
    let kept = match arguments.flag(1) {
        true => &kept[..],
        false => kept.rsplit_once(' ').map_or(&kept[..], |(before, _)| before),
    };
    let kept = Value::text_like(value, kept);
    let end = arguments.get(2).cloned().unwrap_or_else(|| Value::text(end));
    binary(interp, super::super::ops::Operator::Add, &kept, &end)
}

pub fn wordcount(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let text = text_of(interp, value)?;
    interp.meter.text(text.len())?;
    let words = text.split(|c| !text::is_word(c)).filter(|word| !word.is_empty());
    Ok(Value::int(words.count()))
}
