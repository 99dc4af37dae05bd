//! Methods of Python's str; those of Markup escape what they are given.

use super::call::Given;
use super::error::{fail, Result};
use super::interp::Interp;
use super::iterate::collect;
use super::text::{self, Sides};
use super::value::Value;
use super::{brace_format, html};

pub const NAMES: [&str; 48] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "escape",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "striptags",
    "swapcase",
    "title",
    "unescape",
    "upper",
    "zfill",
];

/// The parameters of each, "/" before those that have no name to call them by.
fn parameters(name: &str) -> (&'static [&'static str], usize) {
    match name {
        "center" | "ljust" | "rjust" => (&["/width", "/fillchar"], 1),
        "count" | "find" | "index" | "rfind" | "rindex" | "startswith" | "endswith" => {
            (&["/sub", "/start", "/end"], 1)
        }
        "join" => (&["/iterable"], 1),
        "lstrip" | "rstrip" | "strip" => (&["/chars"], 0),
        "partition" | "rpartition" => (&["/sep"], 1),
        "removeprefix" | "removesuffix" => (&["/affix"], 1),
        "replace" => (&["/old", "/new", "/count"], 2),
        "rsplit" | "split" => (&["sep", "maxsplit"], 0),
        "splitlines" => (&["keepends"], 0),
        "expandtabs" => (&["tabsize"], 0),
        "zfill" => (&["/width"], 1),
        "escape" => (&["/s"], 1),
        _ => (&[], 0),
    }
}

struct Bound {
    name: &'static str,
    values: Vec<Option<Value>>,
}

impl Bound {
    fn at(&self, index: usize) -> Option<&Value> {
        self.values.get(index).and_then(Option::as_ref)
    }

    fn text(&self, index: usize) -> Result<&str> {
        match self.at(index).map(|value| (value.as_str(), value)) {
            Some((Some(text), _)) => Ok(text),
            Some((None, value)) => {
                fail(format!("str.{}: a str is expected, not {}", self.name, value.type_name()))
            }
            None => fail(format!("str.{} misses an argument", self.name)),
        }
    }

    /// None also for none.
    fn optional_text(&self, index: usize) -> Result<Option<&str>> {
        match self.at(index) {
            None | Some(Value::None) => Ok(None),
            Some(_) => self.text(index).map(Some),
        }
    }

    fn int(&self, index: usize, default: i128) -> Result<i128> {
        match self.at(index) {
            None => Ok(default),
            Some(value) => match value.as_int() {
                Some(int) => Ok(int),
                None => fail(format!(
                    "str.{}: '{}' object cannot be interpreted as an integer",
                    self.name,
                    value.type_name()
                )),
            },
        }
    }
}

pub fn call(interp: &Interp, value: &Value, name: &'static str, given: Given) -> Result<Value> {
    let text = value.as_str().unwrap_or_default();
    interp.meter.text(text.len())?;
    if name == "format" || name == "format_map" {
        return brace_format::format(interp, value, name, given);
    }
    let (names, required) = parameters(name);
    let bound = Bound { name, values: given.bind(&format!("str.{name}"), names, required)? };
    let like = |text: &str| Ok(Value::text_like(value, text));
    let both = Sides { left: name != "rstrip", right: name != "lstrip" };
    match name {
        "capitalize" => like(&text::capitalize(text)),
        "casefold" => like(&text::case_fold(text)),
        "lower" => like(&text.to_lowercase()),
        "swapcase" => like(&text::swap_case(text)),
        "title" => like(&text::title(text)),
        "upper" => like(&text.to_uppercase()),
        "strip" | "lstrip" | "rstrip" => like(text::strip(text, bound.optional_text(0)?, both)),
        "center" | "ljust" | "rjust" | "zfill" => padded(interp, value, text, &bound),
        "count" | "find" | "index" | "rfind" | "rindex" => search(text, &bound),
        "startswith" | "endswith" => affix(interp, text, &bound),
        "join" => join(interp, value, &bound),
        "partition" | "rpartition" => partition(value, text, &bound),
        "removeprefix" => like(text.strip_prefix(bound.text(0)?).unwrap_or(text)),
        "removesuffix" => like(match bound.text(0)? {
            "" => text,
            suffix => text.strip_suffix(suffix).unwrap_or(text),
        }),
        "replace" => {
            let new = match (value.is_markup(), bound.at(1)) {
                (true, Some(new)) if new.as_str().is_some() => html::escape(new).into_owned(),
                _ => bound.text(1)?.to_string(),
            };
            let made = replace(interp, text, bound.text(0)?, &new, bound.int(2, -1)?)?;
            like(&made)
        }
        "split" | "rsplit" => split(value, text, &bound),
        "splitlines" => {
            let keeps = bound.at(0).is_some_and(Value::is_true);
            let lines = text::split_lines(text, keeps);
            interp.meter.spend(lines.len() as u64)?;
            Value::list(lines.into_iter().map(|line| Value::text_like(value, line)).collect())
        }
        "expandtabs" => {
            let made = expand_tabs(interp, text, bound.int(0, 8)?)?;
            like(&made)
        }
        "striptags" => html::strip_tags(text).map(Value::text).or_else(unknown_entity),
        "unescape" => html::unescape(text).map(Value::text).or_else(unknown_entity),
        "escape" => {
            let text = super::repr::text_of(interp, bound.at(0).unwrap_or(&Value::None))?;
            Ok(Value::markup(html::escape_text(&text)))
        }
        "encode" => fail("str.encode is not supported in templates: they have no bytes"),
        _ => Ok(Value::Bool(is(text, name))),
    }
}

pub fn unknown_entity<T>(entity: String) -> Result<T> {
    fail(format!("the HTML entity {entity} is not supported in templates"))
}

fn is(text: &str, name: &str) -> bool {
    let all = |is: fn(char) -> bool| !text.is_empty() && text.chars().all(is);
    let title = text::is_title_letter;
    match name {
        "isalnum" => all(text::is_alnum),
        "isalpha" => all(text::is_alpha),
        "isascii" => text.is_ascii(),
        "isdecimal" => all(text::is_decimal),
        "isdigit" => all(text::is_digit),
        "isidentifier" => {
            let starts = text.starts_with(|c: char| c == '_' || text::is_alpha(c));
            starts && text.chars().all(|c| text::is_word(c) || text::is_mark(c))
        }
        "islower" => text::all_cased(text, char::is_lowercase, |c| c.is_uppercase() || title(c)),
        "isupper" => text::all_cased(text, char::is_uppercase, |c| c.is_lowercase() || title(c)),
        "isnumeric" => all(text::is_numeric),
        "isprintable" => text.chars().all(text::is_printable),
        "isspace" => all(text::is_space),
        _ => text::is_title(text),
    }
}

fn padded(interp: &Interp, value: &Value, text: &str, bound: &Bound) -> Result<Value> {
    let width = usize::try_from(bound.int(0, 0)?.max(0)).unwrap_or(usize::MAX);
    let fill = match bound.at(1) {
        None => " ".to_string(),
        Some(fill) if value.is_markup() => html::escape(fill).into_owned(),
        Some(_) => bound.text(1)?.to_string(),
    };
    if fill.chars().count() != 1 {
        return fail("The fill character must be exactly one character long");
    }
    let length = text.chars().count();
    if width <= length {
        return Ok(Value::text_like(value, text));
    }
    interp.meter.repeated(fill.len(), width)?;
    let missing = width - length;
    // CPython puts the odd one to the left where the width is odd.
    let left = match bound.name {
        "center" => missing / 2 + (missing & width & 1),
        "ljust" => 0,
        _ => missing,
    };
    if bound.name == "zfill" {
        let signed = usize::from(text.starts_with(['+', '-']));
        let zeros = "0".repeat(missing);
        return Ok(Value::text_like(value, [&text[..signed], &zeros, &text[signed..]].concat()));
    }
    let made = [fill.repeat(left), text.to_string(), fill.repeat(missing - left)].concat();
    Ok(Value::text_like(value, made))
}

/// The part of a text between two places, and the place it begins at; None where none is.
fn part<'t>(text: &'t str, bound: &Bound) -> Result<Option<(&'t str, usize)>> {
    let length = text.chars().count() as i128;
    let edge = |index: usize, default: i128| -> Result<i128> {
        let at = match bound.at(index) {
            Some(Value::None) => default,
            _ => bound.int(index, default)?,
        };
        Ok(if at < 0 { (at + length).max(0) } else { at })
    };
    let (start, end) = (edge(1, 0)?, edge(2, length)?.min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i128| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((&text[byte(start)..byte(end)], start as usize)))
}

fn search(text: &str, bound: &Bound) -> Result<Value> {
    let sub = bound.text(0)?;
    let Some((within, start)) = part(text, bound)? else {
        return match bound.name {
            "count" => Ok(Value::Int(0)),
            "find" | "rfind" => Ok(Value::Int(-1)),
            _ => fail("substring not found"),
        };
    };
    if bound.name == "count" {
        return Ok(Value::int(within.matches(sub).count()));
    }
    let found = match bound.name.starts_with('r') {
        true => within.rfind(sub),
        false => within.find(sub),
    };
    match found {
        Some(byte) => Ok(Value::int(start + within[..byte].chars().count())),
        None if bound.name.ends_with("find") => Ok(Value::Int(-1)),
        None => fail("substring not found"),
    }
}

fn affix(interp: &Interp, text: &str, bound: &Bound) -> Result<Value> {
    let candidates = match bound.at(0) {
        Some(Value::Tuple(list)) => list.items.clone(),
        Some(other) => vec![other.clone()],
        None => vec![],
    };
    interp.meter.spend(candidates.len() as u64)?;
    let within = part(text, bound)?;
    for candidate in &candidates {
        let Some(affix) = candidate.as_str() else {
            return fail(format!(
                "{} first arg must be str or a tuple of str, not {}",
                bound.name,
                candidate.type_name()
            ));
        };
        let fits = within.is_some_and(|(within, _)| match bound.name {
            "startswith" => within.starts_with(affix),
            _ => within.ends_with(affix),
        });
        if fits {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn join(interp: &Interp, separator: &Value, bound: &Bound) -> Result<Value> {
    let items = collect(interp, bound.at(0).unwrap_or(&Value::None))?;
    let between = separator.as_str().unwrap_or_default();
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            interp.write(&mut out, between)?;
        }
        match (separator.is_markup(), item.as_str()) {
            (true, Some(_)) => interp.write(&mut out, &html::escape(item))?,
            (true, None) => {
                let text = super::repr::text_of(interp, item)?;
                interp.write(&mut out, &html::escape_text(&text))?;
            }
            (false, Some(text)) => interp.write(&mut out, text)?,
            (false, None) => {
                return fail(format!(
                    "sequence item {i}: expected str instance, {} found",
                    item.type_name()
                ))
            }
        }
    }
    Ok(Value::text_like(separator, out))
}

fn partition(value: &Value, text: &str, bound: &Bound) -> Result<Value> {
    let separator = bound.text(0)?;
    if separator.is_empty() {
        return fail("empty separator");
    }
    let found = match bound.name {
        "partition" => text.find(separator),
        _ => text.rfind(separator),
    };
    let parts = match (found, bound.name) {
        (Some(at), _) => [&text[..at], separator, &text[at + separator.len()..]],
        (None, "partition") => [text, "", ""],
        (None, _) => ["", "", text],
    };
    Value::tuple(parts.iter().map(|part| Value::text_like(value, part)).collect())
}

pub fn replace(interp: &Interp, text: &str, old: &str, new: &str, count: i128) -> Result<String> {
    let count = if count < 0 { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) };
    let found = match old {
        "" => text.chars().count() + 1,
        _ => text.matches(old).count(),
    };
    interp.meter.repeated(new.len(), found.min(count))?;
    interp.meter.text(text.len())?;
    Ok(text.replacen(old, new, count))
}

fn split(value: &Value, text: &str, bound: &Bound) -> Result<Value> {
    let limit = usize::try_from(bound.int(1, -1)?).ok();
    let right = bound.name == "rsplit";
    let mut parts: Vec<&str> = match (bound.optional_text(0)?, limit, right) {
        (Some(""), ..) => return fail("empty separator"),
        (Some(at), None, _) => text.split(at).collect(),
        (Some(at), Some(limit), false) => text.splitn(limit.saturating_add(1), at).collect(),
        (Some(at), Some(limit), true) => text.rsplitn(limit.saturating_add(1), at).collect(),
        (None, limit, false) => text::split_words(text, limit),
        (None, limit, true) => text::rsplit_words(text, limit),
    };
    if right && bound.optional_text(0)?.is_some() && limit.is_some() {
        parts.reverse();
    }
    Value::list(parts.into_iter().map(|part| Value::text_like(value, part)).collect())
}

fn expand_tabs(interp: &Interp, text: &str, size: i128) -> Result<String> {
    let size = usize::try_from(size.clamp(0, 1 << 20)).unwrap_or(0);
    interp.meter.repeated(size, text.matches('\t').count())?;
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    Ok(out)
}
