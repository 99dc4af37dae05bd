//! The filter `tojson` as transformers has it: Python's json.dumps with ensure_ascii off.

use crate::python;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Bytes of an indent or a separator, which are written over and over.
const SEPARATOR_BYTES_MAX: usize = 64;
/// json.dumps stops at Python's recursion limit; templates in use stay below ten.
const DEPTH_MAX: usize = 200;

struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

pub fn filter(state: &State, value: &Value, keywords: Kwargs) -> Result<Value, Error> {
    let style = style(&keywords)?;
    keywords.assert_all_used()?;
    let mut out = String::new();
    write(state, value, &style, 0, &mut out)?;
    Ok(Value::from(out))
}

fn style(keywords: &Kwargs) -> Result<Style, Error> {
    let indent = match keywords.get::<Option<Value>>("indent")? {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(
                usize::try_from(i64::try_from(value)?.clamp(0, SEPARATOR_BYTES_MAX as i64))
                    .unwrap_or(0),
            ),
        }),
    };
    let (between_items, after_key) =
        match keywords.get::<Option<Vec<String>>>("separators")?.as_deref() {
            Some([between_items, after_key]) => (between_items.clone(), after_key.clone()),
            Some(_) => return Err(refused("tojson: separators are two strings")),
            None if indent.is_some() => (",".to_string(), ": ".to_string()),
            None => (", ".to_string(), ": ".to_string()),
        };
    let texts = [indent.as_deref().unwrap_or(""), &between_items, &after_key];
    if texts.iter().any(|text| text.len() > SEPARATOR_BYTES_MAX) {
        return Err(refused(format!(
            "tojson: indent and separators have at most {SEPARATOR_BYTES_MAX} bytes"
        )));
    }
    Ok(Style {
        ensure_ascii: keywords.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent,
        between_items,
        after_key,
        sort_keys: keywords.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    })
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, what.into())
}

fn write(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(refused(format!("tojson: the value is nested more than {DEPTH_MAX} deep")));
    }
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => write_text(state, value.as_str().unwrap_or_default(), style, out)?,
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_items(style, depth, ['[', ']'], &items, out, |item, out| {
                write(state, item, style, depth + 1, out)
            })?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            write_items(style, depth, ['{', '}'], &keys, out, |key, out| {
                write_text(state, &key_text(key)?, style, out)?;
                out.push_str(&style.after_key);
                write(state, &value.get_item(key)?, style, depth + 1, out)
            })?;
        }
        kind => return Err(refused(format!("tojson: a value of type {kind} is not JSON"))),
    }
    Ok(())
}

fn write_items(
    style: &Style,
    depth: usize,
    [open, close]: [char; 2],
    items: &[Value],
    out: &mut String,
    mut write_one: impl FnMut(&Value, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |depth: usize, out: &mut String| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(&style.between_items);
        }
        new_line(depth + 1, out);
        write_one(item, out)?;
    }
    if !items.is_empty() {
        new_line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn number(value: &Value) -> String {
    match python::as_float(value) {
        Some(float) if float.is_nan() => "NaN".to_string(),
        Some(float) if float.is_infinite() => {
            if float > 0.0 { "Infinity" } else { "-Infinity" }.to_string()
        }
        Some(float) => python::float(float),
        None => value.to_string(),
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.to_string()),
        ValueKind::None => Ok("null".to_string()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_string()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(refused(format!("tojson: a key of type {kind} is not JSON"))),
    }
}

fn write_text(state: &State, text: &str, style: &Style, out: &mut String) -> Result<(), Error> {
    state.consume_fuel(text.len() as u64 / 32)?;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (style.ensure_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}
