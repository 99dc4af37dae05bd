//! What Python does and Rust or the template engine does otherwise, as far as chat templates can see
//! it: white space, methods of strings, floats as text.

use minijinja::value::{from_args, Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

const INDENT_MAX: i64 = 1000;

/// str.isspace: Unicode's white space and the four separators 0x1c to 0x1f.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What str.splitlines takes for the end of a line, besides "\r\n".
fn ends_line(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[derive(Clone, Copy)]
pub struct Sides {
    left: bool,
    right: bool,
}

const BOTH: Sides = Sides { left: true, right: true };
const LEFT: Sides = Sides { left: true, right: false };
const RIGHT: Sides = Sides { left: false, right: true };

/// str.strip and its one-sided kin; `chars` None or a null: white space.
fn strip<'a>(text: &'a str, chars: Option<&str>, sides: Sides) -> &'a str {
    let strips = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if sides.left { text.trim_start_matches(strips) } else { text };
    if sides.right {
        text.trim_end_matches(strips)
    } else {
        text
    }
}

/// The filters `int` and `float`, which give the default for what is no number.
pub fn int(value: &Value, default: Option<Value>) -> Value {
    let text = value.to_string();
    let text = strip(&text, None, BOTH).replace('_', "");
    match (as_float(value), value.kind()) {
        (Some(float), _) if float.is_finite() => Value::from(float.trunc() as i128),
        (_, ValueKind::Number) => value.clone(),
        (_, ValueKind::Bool) => Value::from(i64::from(value.is_true())),
        _ => match (text.parse::<i128>(), text.parse::<f64>()) {
            (Ok(int), _) => Value::from(int),
            (_, Ok(float)) if float.is_finite() => Value::from(float.trunc() as i128),
            _ => default.unwrap_or_else(|| Value::from(0)),
        },
    }
}

pub fn to_float(value: &Value, default: Option<Value>) -> Value {
    let text = value.to_string();
    match (f64::try_from(value.clone()), strip(&text, None, BOTH).parse::<f64>()) {
        (Ok(float), _) | (_, Ok(float)) => Value::from(float),
        _ => default.unwrap_or_else(|| Value::from(0.0)),
    }
}

/// The filter of that name; its second argument may be called `boolean`.
pub fn default(
    value: &Value,
    other: Option<Value>,
    boolean: Option<Value>,
    keywords: Kwargs,
) -> Result<Value, Error> {
    let other = match other {
        Some(other) => Some(other),
        None => keywords.get("default_value")?,
    };
    let boolean = match boolean {
        Some(boolean) => Some(boolean),
        None => keywords.get("boolean")?,
    };
    keywords.assert_all_used()?;
    let missing = match boolean.is_some_and(|boolean| boolean.is_true()) {
        true => !value.is_true(),
        false => value.is_undefined(),
    };
    Ok(if missing { other.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

/// The filter of that name: a line break at the end stays.
pub fn indent(
    text: &str,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    keywords: Kwargs,
) -> Result<String, Error> {
    let width: Option<Value> = width.or(keywords.get("width")?);
    let first = first.or(keywords.get("first")?).unwrap_or(false);
    let blank = blank.or(keywords.get("blank")?).unwrap_or(false);
    keywords.assert_all_used()?;
    let width = match width {
        None => "    ".to_string(),
        Some(width) => match width.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(i64::try_from(width)?.clamp(0, INDENT_MAX) as usize),
        },
    };
    let mut out = String::new();
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&width);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// The filter of that name: of any value's text.
pub fn trim(value: &Value, chars: Option<String>) -> String {
    strip(&value.to_string(), chars.as_deref(), BOTH).to_string()
}

/// str.split without a separator: the words, and with `limit` splits what is left after them.
fn split_words(text: &str, limit: Option<usize>) -> Vec<&str> {
    let mut words = vec![];
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if limit.is_some_and(|limit| words.len() == limit) {
            words.push(rest);
            return words;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

fn rsplit_words(text: &str, limit: Option<usize>) -> Vec<&str> {
    let mut words = vec![];
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        if limit.is_some_and(|limit| words.len() == limit) {
            words.push(rest);
            break;
        }
        let begin = rest
            .rfind(is_space)
            .map_or(0, |at| at + rest[at..].chars().next().map_or(0, char::len_utf8));
        words.push(&rest[begin..]);
        rest = rest[..begin].trim_end_matches(is_space);
    }
    words.reverse();
    words
}

fn split(
    text: &str,
    separator: Option<&str>,
    limit: Option<i64>,
    right: bool,
) -> Result<Value, Error> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let mut parts: Vec<&str> = match (separator, limit, right) {
        (Some(""), _, _) => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        (Some(at), None, _) => text.split(at).collect(),
        (Some(at), Some(limit), false) => text.splitn(limit + 1, at).collect(),
        (Some(at), Some(limit), true) => text.rsplitn(limit + 1, at).collect(),
        (None, limit, false) => split_words(text, limit),
        (None, limit, true) => rsplit_words(text, limit),
    };
    if right && separator.is_some() && limit.is_some() {
        parts.reverse();
    }
    Ok(Value::from_iter(parts))
}

fn split_lines(text: &str, keep_ends: bool) -> Value {
    let mut lines: Vec<&str> = vec![];
    let mut rest = text;
    while let Some(at) = rest.find(ends_line) {
        let end = if rest[at..].starts_with("\r\n") {
            at + 2
        } else {
            at + rest[at..].chars().next().map_or(0, char::len_utf8)
        };
        lines.push(if keep_ends { &rest[..end] } else { &rest[..at] });
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Value::from_iter(lines)
}

/// list.index and list.count; sums of lists are lists too.
fn list_method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return pycompat::unknown_method_callback(state, value, name, args);
    }
    let (wanted,): (&Value,) = match name {
        "index" | "count" => from_args(args)?,
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    };
    let mut places = value.try_iter()?.enumerate().filter(|(_, item)| item == wanted);
    if name == "count" {
        return Ok(Value::from(places.count()));
    }
    let missing = || Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in list"));
    places.next().map(|(place, _)| Value::from(place)).ok_or_else(missing)
}

/// Methods of Python's types: of strings those above, the rest as the engine's own crate has them.
pub fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return list_method(state, value, name, args);
    };
    let sides = match name {
        "strip" => BOTH,
        "lstrip" => LEFT,
        _ => RIGHT,
    };
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            Ok(Value::from(strip(text, chars, sides)))
        }
        "split" | "rsplit" => {
            let (separator, limit, keywords): (Option<&str>, Option<i64>, Kwargs) =
                from_args(args)?;
            let separator = separator.or(keywords.get("sep")?);
            let limit = match limit {
                Some(limit) => Some(limit),
                None => keywords.get("maxsplit")?,
            };
            keywords.assert_all_used()?;
            split(text, separator, limit, name == "rsplit")
        }
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(args)?;
            Ok(split_lines(text, keep_ends.unwrap_or(false)))
        }
        "isspace" => {
            let () = from_args(args)?;
            Ok(Value::from(!text.is_empty() && text.chars().all(is_space)))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            let cut = if suffix.is_empty() { None } else { text.strip_suffix(suffix) };
            Ok(Value::from(cut.unwrap_or(text)))
        }
        "format" if !is_bounded_format(text) => Err(Error::new(
            ErrorKind::InvalidOperation,
            "str.format: widths have at most three digits and are no fields themselves",
        )),
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// Whether no field of a format string asks for a text of any length.
fn is_bounded_format(format: &str) -> bool {
    let specs = format.split('{').flat_map(|field| field.split_once(':'));
    let bounded = |spec: &str| {
        let spec = spec.split('}').next().unwrap_or("");
        spec.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= 3)
    };
    specs.into_iter().all(|(_, spec)| bounded(spec)) && !format.contains(":{")
}

/// repr of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The float in a value that is one.
pub fn as_float(value: &Value) -> Option<f64> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok()
}
