//! `text % values`, as C's printf.

use super::attributes;
use super::error::{fail, Result};
use super::html;
use super::interp::Interp;
use super::numbers::{general, parse_float, scientific};
use super::repr::{ascii_of, repr_of, text_of};
use super::value::Value;

/// Texts of any length are made by `*` of texts, which is counted; a width needs no more than this.
const WIDTH_MAX: usize = 10_000;

#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zeros: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

struct Formatter<'f> {
    interp: &'f Interp,
    values: &'f Value,
    next: usize,
    escapes: bool,
    used_names: bool,
}

pub fn format(interp: &Interp, format: &Value, values: &Value) -> Result<Value> {
    let text = format.as_str().unwrap_or_default();
    let mut formatter =
        Formatter { interp, values, next: 0, escapes: format.is_markup(), used_names: false };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        interp.write(&mut out, &rest[..at])?;
        rest = formatter.field(&rest[at + 1..], &mut out)?;
    }
    interp.write(&mut out, rest)?;
    let unused = match values {
        Value::Tuple(list) => formatter.next < list.items.len(),
        Value::Dict(_) | Value::List(_) | Value::Range(_) => false,
        _ => formatter.next == 0 && !formatter.used_names,
    };
    if unused {
        return fail("not all arguments converted during string formatting");
    }
    Ok(Value::text_like(format, out))
}

fn number(text: &str) -> Result<(Option<usize>, &str)> {
    let size = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = match &text[..size] {
        "" => None,
        digits => match digits.parse() {
            Ok(number) if number <= WIDTH_MAX => Some(number),
            _ => return fail(format!("% formats: a width of more than {WIDTH_MAX}")),
        },
    };
    Ok((number, &text[size..]))
}

impl Formatter<'_> {
    fn next(&mut self) -> Result<Value> {
        self.next += 1;
        let value = match self.values {
            Value::Tuple(list) => list.items.get(self.next - 1).cloned(),
            other if self.next == 1 => Some(other.clone()),
            _ => None,
        };
        value.map_or_else(|| fail("not enough arguments for format string"), Ok)
    }

    fn size<'t>(&mut self, text: &'t str) -> Result<(Option<i128>, &'t str)> {
        let Some(rest) = text.strip_prefix('*') else {
            let (number, rest) = number(text)?;
            return Ok((number.map(|number| number as i128), rest));
        };
        match self.next()?.as_int() {
            Some(int) if int.unsigned_abs() <= WIDTH_MAX as u128 => Ok((Some(int), rest)),
            Some(_) => fail(format!("% formats: a width of more than {WIDTH_MAX}")),
            None => fail("* wants int"),
        }
    }

    /// What stands behind "%"; the rest of the format.
    fn field<'t>(&mut self, text: &'t str, out: &mut String) -> Result<&'t str> {
        let mut rest = text;
        let mut named = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let mut depth = 1;
            let end = inside.char_indices().find(|(_, c)| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth == 0
            });
            let Some((end, _)) = end else { return fail("incomplete format key") };
            if !matches!(self.values, Value::Dict(_)) {
                return fail("format requires a mapping");
            }
            let key = Value::text(&inside[..end]);
            let found = attributes::item(self.interp, self.values, &key)?;
            if found.is_undefined() {
                return fail(format!("the format's key '{}' is not there", &inside[..end]));
            }
            named = Some(found);
            self.used_names = true;
            rest = &inside[end + 1..];
        }
        let mut spec = Spec::default();
        while let Some(c) = rest.chars().next() {
            match c {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '0' => spec.zeros = true,
                '#' => spec.alternate = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let (width, after) = self.size(rest)?;
        spec.left |= width.is_some_and(|width| width < 0);
        spec.width = width.unwrap_or(0).unsigned_abs() as usize;
        rest = after;
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = self.size(after)?;
            spec.precision = Some(precision.unwrap_or(0).max(0) as usize);
            rest = after;
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let Some(kind) = rest.chars().next() else { return fail("incomplete format") };
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            self.interp.write(out, "%")?;
            return Ok(rest);
        }
        let value = match named {
            Some(value) => value,
            None => self.next()?,
        };
        let field = self.converted(kind, &spec, &value)?;
        self.interp.write(out, &field)?;
        Ok(rest)
    }

    fn converted(&self, kind: char, spec: &Spec, value: &Value) -> Result<String> {
        let escaped = |text: String| if self.escapes { html::escape_text(&text) } else { text };
        match kind {
            's' if self.escapes && value.is_markup() => {
                Ok(padded_text(spec, value.as_str().unwrap_or_default()))
            }
            's' => Ok(padded_text(spec, &escaped(text_of(self.interp, value)?.into_owned()))),
            'r' => Ok(padded_text(spec, &escaped(repr_of(self.interp, value)?))),
            'a' => Ok(padded_text(spec, &escaped(ascii_of(self.interp, value)?))),
            'c' => match (value.as_str(), value.as_int()) {
                (Some(text), _) if text.chars().count() == 1 => Ok(padded_text(spec, text)),
                (_, Some(code)) => match u32::try_from(code).ok().and_then(char::from_u32) {
                    Some(c) => Ok(padded_text(spec, c.encode_utf8(&mut [0; 4]))),
                    None => fail("%c arg not in range(0x110000)"),
                },
                _ => fail("%c requires int or char"),
            },
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => integer(kind, spec, value),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => self.float(kind, spec, value),
            other => fail(format!("unsupported format character '{other}'")),
        }
    }

    fn float(&self, kind: char, spec: &Spec, value: &Value) -> Result<String> {
        let number = match (value, value.as_int(), value.as_str()) {
            (Value::Float(float), ..) => *float,
            (_, Some(int), _) => int as f64,
            // Markup's helper reads texts as numbers.
            (_, _, Some(text)) if self.escapes => match parse_float(text) {
                Some(float) => float,
                None => return fail("could not convert string to float"),
            },
            _ => return fail(format!("must be real number, not {}", value.type_name())),
        };
        let precision = spec.precision.unwrap_or(6);
        let size = number.abs();
        let digits = match kind.to_ascii_lowercase() {
            _ if !number.is_finite() => if number.is_nan() { "nan" } else { "inf" }.to_string(),
            'e' => scientific(size, precision, spec.alternate),
            'f' if spec.alternate && precision == 0 => format!("{size:.0}."),
            'f' => format!("{size:.precision$}"),
            _ => general(size, precision, spec.alternate),
        };
        let digits = if kind.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
        let negative = number.is_sign_negative() && !number.is_nan();
        let zeros = Spec { zeros: spec.zeros, ..copy(spec) };
        Ok(signed(&zeros, negative, "", &digits))
    }
}

fn copy(spec: &Spec) -> Spec {
    Spec { precision: spec.precision, ..*spec }
}

fn padded_text(spec: &Spec, text: &str) -> String {
    let text: String = match spec.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_string(),
    };
    let spaces = " ".repeat(spec.width.saturating_sub(text.chars().count()));
    if spec.left {
        text + &spaces
    } else {
        spaces + &text
    }
}

fn integer(kind: char, spec: &Spec, value: &Value) -> Result<String> {
    let int = match (value, value.as_int()) {
        (_, Some(int)) => int,
        (Value::Float(float), _) if float.is_finite() && matches!(kind, 'd' | 'i' | 'u') => {
            match float.abs() < 1e38 {
                true => float.trunc() as i128,
                false => return super::ops::too_large(),
            }
        }
        _ => {
            return fail(format!(
                "%{kind} format: a real number is required, not {}",
                value.type_name()
            ))
        }
    };
    let size = int.unsigned_abs();
    let (prefix, digits) = match kind {
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        'o' => ("0o", format!("{size:o}")),
        _ => ("", size.to_string()),
    };
    let digits = format!("{digits:0>width$}", width = spec.precision.unwrap_or(0));
    Ok(signed(spec, int < 0, if spec.alternate { prefix } else { "" }, &digits))
}

fn signed(spec: &Spec, negative: bool, prefix: &str, digits: &str) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let missing = spec.width.saturating_sub(sign.len() + prefix.len() + digits.len());
    match (spec.left, spec.zeros) {
        (true, _) => [sign, prefix, digits, &" ".repeat(missing)].concat(),
        (_, true) => [sign, prefix, &"0".repeat(missing), digits].concat(),
        _ => [&" ".repeat(missing), sign, prefix, digits].concat(),
    }
}
