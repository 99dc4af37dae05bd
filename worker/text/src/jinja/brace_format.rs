//! str.format and str.format_map, in the sandbox: attributes are looked up as templates do.

use super::attributes;
use super::call::Given;
use super::error::{fail, Result};
use super::format_spec;
use super::html;
use super::interp::Interp;
use super::repr::{ascii_of, repr_of, text_of};
use super::value::Value;
use std::sync::Arc;

struct Formatter<'f> {
    interp: &'f Interp,
    positional: Vec<Value>,
    named: Value,
    next: usize,
    is_manual: Option<bool>,
    escapes: bool,
}

pub fn format(interp: &Interp, format: &Value, name: &str, given: Given) -> Result<Value> {
    let (positional, named) = match name {
        "format_map" => {
            let mut items = given.bind_all("format_map")?;
            if items.len() != 1 {
                return fail("format_map() takes exactly one argument");
            }
            (vec![], items.remove(0))
        }
        _ => {
            let pairs = given.named.into_iter().map(|(name, value)| (Value::Str(name), value));
            (given.positional, super::dict::Dict::value(&interp.meter, pairs.collect())?)
        }
    };
    let escapes = format.is_markup();
    let mut formatter = Formatter { interp, positional, named, next: 0, is_manual: None, escapes };
    let text = formatter.fields(format.as_str().unwrap_or_default(), 2)?;
    Ok(Value::text_like(format, text))
}

impl Formatter<'_> {
    fn fields(&mut self, format: &str, depth: usize) -> Result<String> {
        if depth == 0 {
            return fail("Max string recursion exceeded");
        }
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            self.interp.write(&mut out, &rest[..at])?;
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if rest.starts_with(brace) {
                self.interp.write(&mut out, brace)?;
                rest = &rest[1..];
                continue;
            }
            if brace == "}" {
                return fail("Single '}' encountered in format string");
            }
            let Some(end) = closing(rest) else {
                return fail("expected '}' before end of string");
            };
            let field = self.field(&rest[..end], depth)?;
            self.interp.write(&mut out, &field)?;
            rest = &rest[end + 1..];
        }
        self.interp.write(&mut out, rest)?;
        Ok(out)
    }

    fn field(&mut self, field: &str, depth: usize) -> Result<String> {
        let mut in_index = false;
        let name_end = field.char_indices().find(|(_, c)| {
            in_index = (in_index || *c == '[') && *c != ']';
            !in_index && matches!(c, '!' | ':')
        });
        let name_end = name_end.map_or(field.len(), |(at, _)| at);
        let (name, mut rest) = field.split_at(name_end);
        let value = self.named_value(name)?;
        let mut conversion = None;
        if let Some(after) = rest.strip_prefix('!') {
            conversion = after.chars().next();
            rest = after.get(conversion.map_or(0, char::len_utf8)..).unwrap_or("");
            if !(rest.is_empty() || rest.starts_with(':')) {
                return fail("expected ':' after conversion specifier");
            }
        }
        let spec = match rest.strip_prefix(':') {
            Some(spec) if spec.contains(['{', '}']) => self.fields(spec, depth - 1)?,
            Some(spec) => spec.to_string(),
            None => String::new(),
        };
        let value = match conversion {
            None => value,
            Some('s') => Value::text(text_of(self.interp, &value)?),
            Some('r') => Value::text(repr_of(self.interp, &value)?),
            Some('a') => Value::text(ascii_of(self.interp, &value)?),
            Some(other) => return fail(format!("Unknown conversion specifier {other}")),
        };
        if self.escapes && value.is_markup() {
            if !spec.is_empty() {
                return fail("Unsupported format specification for Markup.");
            }
            return Ok(value.as_str().unwrap_or_default().to_string());
        }
        let text = format_spec::apply(self.interp, &value, &spec)?;
        Ok(if self.escapes { html::escape_text(&text) } else { text })
    }

    fn numbered(&mut self, manual: bool) -> Result<()> {
        if self.is_manual.is_some_and(|before| before != manual) {
            return fail("cannot switch between manual and automatic field numbering");
        }
        self.is_manual = Some(manual);
        Ok(())
    }

    fn named_value(&mut self, name: &str) -> Result<Value> {
        let first_end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(first_end);
        let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
        let mut value = if first.is_empty() || is_number {
            self.numbered(is_number)?;
            let at = if is_number { first.parse().unwrap_or(usize::MAX) } else { self.next };
            self.next += usize::from(!is_number);
            match self.positional.get(at) {
                Some(value) => value.clone(),
                None => return fail("Replacement index out of range for positional args tuple"),
            }
        } else {
            let found = attributes::item(self.interp, &self.named, &Value::text(first))?;
            let there = super::iterate::contains(self.interp, &self.named, &Value::text(first))?;
            if !there {
                return fail(format!("the format's key '{first}' is not there"));
            }
            found
        };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return fail("Empty attribute in format string");
                }
                let attribute: Arc<str> = after[..end].into();
                value = attributes::attribute(self.interp, &value, &attribute)?;
                rest = &after[end..];
                continue;
            }
            let Some((index, after)) = rest[1..].split_once(']') else {
                return fail("Missing ']' in format string");
            };
            let index = match index.parse::<i128>() {
                Ok(int) if index.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(int),
                _ => Value::text(index),
            };
            value = attributes::item(self.interp, &value, &index)?;
            rest = after;
        }
        Ok(value)
    }
}

/// Where the "}" of a field stands.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices()
        .find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        })
        .map(|(at, _)| at)
}
