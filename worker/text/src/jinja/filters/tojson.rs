//! The filter `tojson` as transformers has it: Python's json.dumps with ensure_ascii off.

use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::numbers::float_text;
use super::super::ops::sort;
use super::super::value::Value;
use super::Arguments;

/// Bytes of an indent or a separator, which are written over and over.
const SEPARATOR_BYTES_MAX: usize = 64;

struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

pub fn tojson(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let style = style(arguments)?;
    let mut out = String::new();
    write(interp, value, &style, 0, &mut out)?;
    Ok(Value::text(out))
}

fn style(arguments: &Arguments) -> Result<Style> {
    let indent = match arguments.some(1) {
        None => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_string(),
            None => {
                let most = SEPARATOR_BYTES_MAX as i128 + 1;
                " ".repeat(arguments.int(1, 0)?.clamp(0, most) as usize)
            }
        }),
    };
    let (between_items, after_key) = match arguments.some(2) {
        Some(Value::List(list) | Value::Tuple(list)) => match &list.items[..] {
            [a, b] => match (a.as_str(), b.as_str()) {
                (Some(a), Some(b)) => (a.to_string(), b.to_string()),
                _ => return fail("tojson: separators are two strings"),
            },
            _ => return fail("tojson: separators are two strings"),
        },
        Some(_) => return fail("tojson: separators are two strings"),
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    let texts = [indent.as_deref().unwrap_or(""), &between_items, &after_key];
    if texts.iter().any(|text| text.len() > SEPARATOR_BYTES_MAX) {
        return fail(format!(
            "tojson: indent and separators have at most {SEPARATOR_BYTES_MAX} bytes"
        ));
    }
    let (ensure_ascii, sort_keys) = (arguments.flag(0), arguments.flag(3));
    Ok(Style { ensure_ascii, indent, between_items, after_key, sort_keys })
}

fn write(
    interp: &Interp,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<()> {
    interp.meter.spend(1)?;
    if out.len() > interp.output_bytes {
        return interp.write(out, " ");
    }
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&number(*float)),
        Value::Str(text) | Value::Markup(text) => write_text(interp, text, style, out)?,
        Value::List(list) | Value::Tuple(list) => {
            write_items(style, depth, ['[', ']'], &list.items, out, |item, out| {
                write(interp, item, style, depth + 1, out)
            })?;
        }
        Value::Dict(dict) => {
            let mut entries: Vec<(Value, Value)> = dict.entries.clone();
            if style.sort_keys {
                sort(&interp.meter, &mut entries, false)?;
            }
            write_items(style, depth, ['{', '}'], &entries, out, |(key, value), out| {
                write_text(interp, &key_text(key)?, style, out)?;
                out.push_str(&style.after_key);
                write(interp, value, style, depth + 1, out)
            })?;
        }
        _ => return fail(format!("Object of type {} is not JSON serializable", value.type_name())),
    }
    Ok(())
}

fn write_items<T>(
    style: &Style,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    out: &mut String,
    mut write_one: impl FnMut(&T, &mut String) -> Result<()>,
) -> Result<()> {
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

fn number(float: f64) -> String {
    match float {
        float if float.is_nan() => "NaN".to_string(),
        float if float.is_infinite() => {
            if float > 0.0 { "Infinity" } else { "-Infinity" }.to_string()
        }
        float => float_text(float),
    }
}

fn key_text(key: &Value) -> Result<String> {
    Ok(match key {
        Value::Str(text) | Value::Markup(text) => text.to_string(),
        Value::None => "null".to_string(),
        Value::Bool(flag) => if *flag { "true" } else { "false" }.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) => number(*float),
        _ => {
            return fail(format!(
                "keys must be str, int, float, bool or None, not {}",
                key.type_name()
            ))
        }
    })
}

fn write_text(interp: &Interp, text: &str, style: &Style, out: &mut String) -> Result<()> {
    interp.meter.spend(text.len() as u64 / 32)?;
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
            // DEL is ASCII; ensure_ascii lets it be.
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
