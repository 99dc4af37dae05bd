//! str() and repr().

use super::error::{fail, Result};
use super::interp::Interp;
use super::numbers::float_text;
use super::text::is_printable;
use super::value::{Value, View};
use std::borrow::Cow;

/// str(value).
pub fn text_of<'v>(interp: &Interp, value: &'v Value) -> Result<Cow<'v, str>> {
    Ok(match value {
        Value::Str(text) | Value::Markup(text) => Cow::Borrowed(text),
        Value::Undefined(_) => Cow::Borrowed(""),
        _ => Cow::Owned(repr_of(interp, value)?),
    })
}

/// repr(value).
pub fn repr_of(interp: &Interp, value: &Value) -> Result<String> {
    let mut out = String::new();
    write(interp, value, &mut out, &mut vec![])?;
    Ok(out)
}

/// The containers that are being written: one within itself is written as dots.
type Inside = Vec<*const ()>;

fn write(interp: &Interp, value: &Value, out: &mut String, inside: &mut Inside) -> Result<()> {
    interp.meter.spend(1)?;
    if out.len() > interp.output_bytes {
        return super::error::limit(format!(
            "the template writes more than {} bytes",
            interp.output_bytes
        ));
    }
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(flag) => out.push_str(if *flag { "True" } else { "False" }),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::Str(text) => quoted(interp, text, out)?,
        Value::Markup(text) => {
            out.push_str("Markup(");
            quoted(interp, text, out)?;
            out.push(')');
        }
        Value::List(list) => {
            once(std::rc::Rc::as_ptr(list).cast(), "[...]", out, inside, |out, inside| {
                sequence(interp, &list.items, ["[", "]"], out, inside)
            })?
        }
        Value::Tuple(list) => {
            once(std::rc::Rc::as_ptr(list).cast(), "(...)", out, inside, |out, inside| {
                let close = if list.items.len() == 1 { ",)" } else { ")" };
                sequence(interp, &list.items, ["(", close], out, inside)
            })?
        }
        Value::Dict(dict) => {
            once(std::rc::Rc::as_ptr(dict).cast(), "{...}", out, inside, |out, inside| {
                braced(interp, dict.entries.iter(), out, inside)
            })?
        }
        Value::View(dict, view) => {
            out.push_str(value.type_name());
            let items: Result<Vec<Value>> = dict
                .entries
                .iter()
                .map(|(key, value)| match view {
                    View::Keys => Ok(key.clone()),
                    View::Values => Ok(value.clone()),
                    View::Items => Value::tuple(vec![key.clone(), value.clone()]),
                })
                .collect();
            sequence(interp, &items?, ["([", "])"], out, inside)?;
        }
        Value::Range(range) => {
            out.push_str(&format!("range({}, {}", range.start, range.stop));
            if range.step != 1 {
                out.push_str(&format!(", {}", range.step));
            }
            out.push(')');
        }
        Value::Namespace(namespace) => {
            out.push_str("<Namespace ");
            let names: Vec<(Value, Value)> = namespace
                .names
                .borrow()
                .iter()
                .map(|(name, value)| (Value::Str(name.clone()), value.clone()))
                .collect();
            once(std::rc::Rc::as_ptr(namespace).cast(), "{...}", out, inside, |out, inside| {
                interp.deeper(|| braced(interp, names.iter(), out, inside))
            })?;
            out.push('>');
        }
        Value::Macro(called) => {
            out.push_str("<Macro ");
            match (&called.name, called.is_caller) {
                (Some(name), false) => quoted(interp, name, out)?,
                _ => out.push_str("anonymous"),
            }
            out.push('>');
        }
        Value::Loop(state) => {
            let size = state.size(interp)?;
            out.push_str(&format!("<LoopContext {}/{size}>", state.index0.get() + 1));
        }
        Value::Stream(_)
        | Value::Cycler(_)
        | Value::Joiner(_)
        | Value::Method(_)
        | Value::Function(_) => {
            return fail(format!(
                "a {} is printed: Python writes its address in memory, which is no text of a chat",
                value.type_name()
            ))
        }
    }
    Ok(())
}

fn sequence(
    interp: &Interp,
    items: &[Value],
    [open, close]: [&str; 2],
    out: &mut String,
    inside: &mut Inside,
) -> Result<()> {
    out.push_str(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(interp, item, out, inside)?;
    }
    out.push_str(close);
    Ok(())
}

fn once(
    place: *const (),
    dots: &str,
    out: &mut String,
    inside: &mut Inside,
    write: impl FnOnce(&mut String, &mut Inside) -> Result<()>,
) -> Result<()> {
    if inside.contains(&place) {
        out.push_str(dots);
        return Ok(());
    }
    inside.push(place);
    write(out, inside)?;
    inside.pop();
    Ok(())
}

fn braced<'v>(
    interp: &Interp,
    pairs: impl Iterator<Item = &'v (Value, Value)>,
    out: &mut String,
    inside: &mut Inside,
) -> Result<()> {
    out.push('{');
    for (i, (key, value)) in pairs.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(interp, key, out, inside)?;
        out.push_str(": ");
        write(interp, value, out, inside)?;
    }
    out.push('}');
    Ok(())
}

/// repr of a text: single quotes unless they are in it and double ones are not.
pub fn quoted(interp: &Interp, text: &str, out: &mut String) -> Result<()> {
    interp.meter.text(text.len())?;
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&escaped(c)),
        }
    }
    out.push(quote);
    Ok(())
}

fn escaped(c: char) -> String {
    match c as u32 {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// ascii(value).
pub fn ascii_of(interp: &Interp, value: &Value) -> Result<String> {
    let text = repr_of(interp, value)?;
    Ok(text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect())
}
