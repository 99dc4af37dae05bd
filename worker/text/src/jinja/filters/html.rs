//! Filters of HTML and of addresses.

use super::super::error::{fail, Result};
use super::super::html as markup;
use super::super::interp::Interp;
use super::super::iterate::{collect, Items};
use super::super::repr::text_of;
use super::super::str_methods::unknown_entity;
use super::super::text::is_space;
use super::super::value::Value;
use super::Arguments;

pub fn safe(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    Ok(Value::markup(text_of(interp, value)?))
}

pub fn escape(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    if value.is_markup() {
        return Ok(value.clone());
    }
    let text = text_of(interp, value)?;
    interp.meter.text(text.len() * 5)?;
    Ok(Value::markup(markup::escape_text(&text)))
}

pub fn forceescape(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let text = text_of(interp, value)?;
    interp.meter.text(text.len() * 5)?;
    Ok(Value::markup(markup::escape_text(&text)))
}

pub fn striptags(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let text = text_of(interp, value)?;
    interp.meter.text(text.len())?;
    markup::strip_tags(&text).map(Value::text).or_else(unknown_entity)
}

pub fn xmlattr(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let Value::Dict(dict) = value else {
        return match value {
            Value::Undefined(why) => fail(&**why),
            _ => fail(format!("'{}' object has no attribute 'items'", value.type_name())),
        };
    };
    let mut parts = vec![];
    for (key, value) in &dict.entries {
        if matches!(value, Value::None) || value.is_undefined() {
            continue;
        }
        let Some(name) = key.as_str() else {
            return fail("xmlattr: expected string or bytes-like object as a key");
        };
        if name.contains(|c: char| c.is_ascii() && is_space_ascii(c) || "/>=".contains(c)) {
            return fail(format!("Invalid character in attribute name: '{name}'"));
        }
        let text = match value.as_str() {
            Some(_) => markup::escape(value).into_owned(),
            None => markup::escape_text(&text_of(interp, value)?),
        };
        parts.push(format!("{}=\"{text}\"", markup::escape(key)));
    }
    let mut out = parts.join(" ");
    interp.meter.text(out.len())?;
    let autospace = arguments.get(0).is_none_or(Value::is_true);
    if autospace && !out.is_empty() {
        out.insert(0, ' ');
    }
    Ok(if interp.autoescape.get() { Value::markup(out) } else { Value::text(out) })
}

fn is_space_ascii(c: char) -> bool {
    is_space(c) && !('\u{1c}'..='\u{1f}').contains(&c)
}

/// urllib.parse.quote; with `for_query` "/" is quoted too and a space is "+".
fn quote(text: &str, for_query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(byte))
            }
            b'/' if !for_query => out.push('/'),
            b' ' if for_query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub fn urlencode(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    if value.as_str().is_some() || Items::of(value).is_err() {
        let text = text_of(interp, value)?;
        interp.meter.text(text.len() * 3)?;
        return Ok(Value::text(quote(&text, false)));
    }
    let pairs: Vec<(Value, Value)> = match value {
        Value::Dict(dict) => dict.entries.clone(),
        _ => {
            let pair = |item: Value| match &collect(interp, &item)?[..] {
                [key, value] => Ok((key.clone(), value.clone())),
                _ => fail("urlencode: an item is no pair"),
            };
            collect(interp, value)?.into_iter().map(pair).collect::<Result<_>>()?
        }
    };
    let mut parts = vec![];
    for (key, value) in &pairs {
        let (key, value) = (text_of(interp, key)?, text_of(interp, value)?);
        interp.meter.text((key.len() + value.len()) * 3)?;
        parts.push(format!("{}={}", quote(&key, true), quote(&value, true)));
    }
    Ok(Value::text(parts.join("&")))
}
