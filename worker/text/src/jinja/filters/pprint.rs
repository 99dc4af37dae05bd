//! The filter `pprint`: Python's pprint at its usual width of 80.

use super::super::error::Result;
use super::super::interp::Interp;
use super::super::ops::less;
use super::super::repr::repr_of;
use super::super::text::{is_space, split_lines};
use super::super::value::Value;
use super::Arguments;

const WIDTH: usize = 80;

pub fn pprint(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let mut out = String::new();
    Printer { interp }.write(&sorted(interp, value)?, &mut out, Place::default(), 0)?;
    Ok(Value::text(out))
}

/// The value with its dicts sorted by their keys.
fn sorted(interp: &Interp, value: &Value) -> Result<Value> {
    interp.meter.spend(1)?;
    let all =
        |items: &[Value]| items.iter().map(|item| sorted(interp, item)).collect::<Result<_>>();
    match value {
        Value::List(list) => Value::list(all(&list.items)?),
        Value::Tuple(list) => Value::tuple(all(&list.items)?),
        Value::Dict(dict) => {
            let mut pairs = vec![];
            for (key, value) in &dict.entries {
                pairs.push((key.clone(), sorted(interp, value)?));
            }
            // Keys that have no order are sorted by the names of their types.
            let mut ordered: Vec<(Value, Value)> = vec![];
            for pair in pairs {
                let mut at = ordered.len();
                while at > 0 && precedes(interp, &pair.0, &ordered[at - 1].0)? {
                    at -= 1;
                }
                interp.meter.spend(ordered.len() as u64 / 8)?;
                ordered.insert(at, pair);
            }
            super::super::dict::Dict::value(&interp.meter, ordered)
        }
        other => Ok(other.clone()),
    }
}

fn precedes(interp: &Interp, a: &Value, b: &Value) -> Result<bool> {
    match less(&interp.meter, a, b) {
        Ok(less) => Ok(less),
        Err(error) if super::super::interp::is_caught(&error) => Ok(a.type_name() < b.type_name()),
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy, Default)]
struct Place {
    indent: usize,
    allowance: usize,
}

struct Printer<'p> {
    interp: &'p Interp,
}

impl Printer<'_> {
    fn write(&self, value: &Value, out: &mut String, place: Place, level: usize) -> Result<()> {
        let text = repr_of(self.interp, value)?;
        self.interp.meter.text(text.len())?;
        if (text.chars().count() + place.indent + place.allowance) <= WIDTH {
            out.push_str(&text);
            return Ok(());
        }
        match value {
            Value::List(list) if !list.items.is_empty() => {
                self.items(&list.items, "[", "]", out, place, level + 1)
            }
            Value::Tuple(list) if !list.items.is_empty() => {
                let close = if list.items.len() == 1 { ",)" } else { ")" };
                self.items(&list.items, "(", close, out, place, level + 1)
            }
            Value::Dict(dict) if !dict.entries.is_empty() => {
                out.push('{');
                let inner = place.indent + 1;
                for (i, (key, value)) in dict.entries.iter().enumerate() {
                    let last = i + 1 == dict.entries.len();
                    let key = repr_of(self.interp, key)?;
                    out.push_str(&key);
                    out.push_str(": ");
                    let indent = inner + key.chars().count() + 2;
                    let allowance = if last { place.allowance + 1 } else { 1 };
                    self.write(value, out, Place { indent, allowance }, level + 1)?;
                    if !last {
                        out.push_str(",\n");
                        out.push_str(&" ".repeat(inner));
                    }
                }
                out.push('}');
                Ok(())
            }
            Value::Str(string) if !string.is_empty() => self.string(string, out, place, level + 1),
            _ => {
                out.push_str(&text);
                Ok(())
            }
        }
    }

    fn items(
        &self,
        items: &[Value],
        open: &str,
        close: &str,
        out: &mut String,
        place: Place,
        level: usize,
    ) -> Result<()> {
        out.push_str(open);
        let indent = place.indent + 1;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(",\n");
                out.push_str(&" ".repeat(indent));
            }
            let last = i + 1 == items.len();
            let allowance = if last { place.allowance + close.len() } else { 1 };
            self.write(item, out, Place { indent, allowance }, level)?;
        }
        out.push_str(close);
        Ok(())
    }

    fn quoted(&self, text: &str) -> Result<String> {
        repr_of(self.interp, &Value::text(text))
    }

    /// A long string in pieces that end with white space.
    fn string(&self, text: &str, out: &mut String, place: Place, level: usize) -> Result<()> {
        let outer = usize::from(level == 1);
        let (indent, allowance) = (place.indent + outer, place.allowance + outer);
        let width = WIDTH.saturating_sub(indent);
        let lines = split_lines(text, true);
        let mut chunks = vec![];
        for (i, line) in lines.iter().enumerate() {
            let last_line = i + 1 == lines.len();
            let whole = self.quoted(line)?;
            let room = if last_line { width.saturating_sub(allowance) } else { width };
            if whole.chars().count() <= room {
                chunks.push(whole);
                continue;
            }
            let parts = spaced_parts(line);
            let mut current = String::new();
            for (j, part) in parts.iter().enumerate() {
                let last = last_line && j + 1 == parts.len();
                let room = if last { width.saturating_sub(allowance) } else { width };
                let candidate = [&current, *part].concat();
                if self.quoted(&candidate)?.chars().count() > room {
                    if !current.is_empty() {
                        chunks.push(self.quoted(&current)?);
                    }
                    current = part.to_string();
                } else {
                    current = candidate;
                }
            }
            if !current.is_empty() {
                chunks.push(self.quoted(&current)?);
            }
        }
        if chunks.len() == 1 {
            out.push_str(&chunks[0]);
            return Ok(());
        }
        let brackets = if level == 1 { ["(", ")"] } else { ["", ""] };
        out.push_str(brackets[0]);
        out.push_str(&chunks.join(&format!("\n{}", " ".repeat(indent))));
        out.push_str(brackets[1]);
        Ok(())
    }
}

/// Words, each with the white space behind it.
fn spaced_parts(line: &str) -> Vec<&str> {
    let (mut parts, mut rest) = (vec![], line);
    while !rest.is_empty() {
        let word = rest.find(is_space).unwrap_or(rest.len());
        let space = rest[word..].find(|c| !is_space(c)).map_or(rest.len(), |at| word + at);
        parts.push(&rest[..space]);
        rest = &rest[space..];
    }
    parts
}
