//! Python's format specifications: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.

use super::error::{fail, Result};
use super::interp::Interp;
use super::numbers::{float_text, general, scientific};
use super::repr::text_of;
use super::value::Value;

const WIDTH_MAX: usize = 10_000;

struct Spec {
    fill: char,
    align: Option<char>,
    sign: char,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn invalid<T>() -> Result<T> {
    fail("Invalid format specifier")
}

fn parse(text: &str) -> Result<Spec> {
    let chars: Vec<char> = text.chars().collect();
    let is_align = |at: usize| chars.get(at).is_some_and(|c| "<>=^".contains(*c));
    let (mut fill, mut align, mut at) = (' ', None, 0);
    if is_align(1) {
        (fill, align, at) = (chars[0], Some(chars[1]), 2);
    } else if is_align(0) {
        (align, at) = (Some(chars[0]), 1);
    }
    let mut sign = '-';
    if let Some(c) = chars.get(at).filter(|c| "+- ".contains(**c)) {
        (sign, at) = (*c, at + 1);
    }
    let alternate = chars.get(at) == Some(&'#');
    at += usize::from(alternate);
    if chars.get(at) == Some(&'0') {
        if align.is_none() {
            (fill, align) = ('0', Some('='));
        }
        at += 1;
    }
    let number = |at: &mut usize| -> Result<Option<usize>> {
        let begin = *at;
        while chars.get(*at).is_some_and(char::is_ascii_digit) {
            *at += 1;
        }
        let digits: String = chars[begin..*at].iter().collect();
        match digits.parse::<usize>() {
            Ok(number) if number <= WIDTH_MAX => Ok(Some(number)),
            _ if digits.is_empty() => Ok(None),
            _ => fail(format!("format: a width of more than {WIDTH_MAX}")),
        }
    };
    let width = number(&mut at)?.unwrap_or(0);
    let grouping = chars.get(at).copied().filter(|c| matches!(c, ',' | '_'));
    at += usize::from(grouping.is_some());
    let mut precision = None;
    if chars.get(at) == Some(&'.') {
        at += 1;
        precision = number(&mut at)?;
        if precision.is_none() {
            return fail("Format specifier missing precision");
        }
    }
    let kind = chars.get(at).copied();
    if at + 1 < chars.len() {
        return invalid();
    }
    Ok(Spec { fill, align, sign, alternate, width, grouping, precision, kind })
}

pub fn apply(interp: &Interp, value: &Value, text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(text_of(interp, value)?.into_owned());
    }
    let spec = parse(text)?;
    match value {
        Value::Str(text) | Value::Markup(text) => of_text(&spec, text),
        Value::Float(float) => of_float(&spec, *float),
        Value::Bool(_) if spec.kind.is_none() => of_int(&spec, value.as_int().unwrap_or(0)),
        Value::Int(_) | Value::Bool(_) => {
            let int = value.as_int().unwrap_or(0);
            match spec.kind {
                Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => of_float(&spec, int as f64),
                _ => of_int(&spec, int),
            }
        }
        _ => fail(format!("unsupported format string passed to {}.__format__", value.type_name())),
    }
}

fn of_text(spec: &Spec, text: &str) -> Result<String> {
    let plain = spec.sign == '-' && !spec.alternate && spec.grouping.is_none();
    if !plain
        || !matches!(spec.kind, None | Some('s'))
        || spec.align == Some('=') && spec.fill != '0'
    {
        return invalid();
    }
    let text: String = match spec.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_string(),
    };
    let align = match spec.align {
        None | Some('=') => '<',
        Some(align) => align,
    };
    Ok(aligned(spec, align, "", &text))
}

fn aligned(spec: &Spec, align: char, prefix: &str, body: &str) -> String {
    let missing = spec.width.saturating_sub(prefix.len() + body.chars().count());
    let fill = |count: usize| spec.fill.to_string().repeat(count);
    match align {
        '<' => [prefix, body, &fill(missing)].concat(),
        '^' => [&fill(missing / 2), prefix, body, &fill(missing - missing / 2)].concat(),
        '=' => [prefix, &fill(missing), body].concat(),
        _ => [&fill(missing), prefix, body].concat(),
    }
}

/// Separators between the digits of a whole number, in groups from the right.
fn grouped(digits: &str, separator: char, size: usize) -> String {
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % size == 0 {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

/// Sign, digits with separators and what stands behind them, in the width asked for.
fn number(
    spec: &Spec,
    negative: bool,
    prefix: &str,
    whole: &str,
    rest: &str,
    group: usize,
) -> String {
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (_, '+') => "+",
        (_, ' ') => " ",
        _ => "",
    };
    let lead = [sign, prefix].concat();
    let mut whole = whole.to_string();
    if let Some(separator) = spec.grouping {
        let mut shown = grouped(&whole, separator, group);
        // Zeros that fill are grouped too.
        while spec.fill == '0'
            && spec.align == Some('=')
            && lead.len() + shown.len() + rest.len() < spec.width
        {
            whole.insert(0, '0');
            shown = grouped(&whole, separator, group);
        }
        whole = shown;
    }
    aligned(spec, spec.align.unwrap_or('>'), &lead, &(whole + rest))
}

fn of_int(spec: &Spec, int: i128) -> Result<String> {
    if spec.precision.is_some() {
        return fail("Precision not allowed in integer format specifier");
    }
    let size = int.unsigned_abs();
    let (prefix, digits, group) = match spec.kind {
        None | Some('d' | 'n') => ("", size.to_string(), 3),
        Some('x') => ("0x", format!("{size:x}"), 4),
        Some('X') => ("0X", format!("{size:X}"), 4),
        Some('o') => ("0o", format!("{size:o}"), 4),
        Some('b') => ("0b", format!("{size:b}"), 4),
        Some('c') => {
            let c = u32::try_from(int).ok().and_then(char::from_u32);
            let Some(c) = c else { return fail("%c arg not in range(0x110000)") };
            return Ok(aligned(spec, spec.align.unwrap_or('<'), "", &c.to_string()));
        }
        Some(other) => {
            return fail(format!("Unknown format code '{other}' for object of type 'int'"))
        }
    };
    if group == 4 && spec.grouping == Some(',') {
        return fail("Cannot specify ',' with this format code.");
    }
    let prefix = if spec.alternate { prefix } else { "" };
    Ok(number(spec, int < 0, prefix, &digits, "", group))
}

fn of_float(spec: &Spec, float: f64) -> Result<String> {
    let size = float.abs();
    let precision = spec.precision.unwrap_or(6);
    let kind = spec.kind.map(|kind| kind.to_ascii_lowercase());
    let digits = match kind {
        _ if !float.is_finite() => if float.is_nan() { "nan" } else { "inf" }.to_string(),
        None => match spec.precision {
            None => float_text(size),
            // As "g", with a digit behind the point.
            Some(precision) => {
                let precision = precision.max(1);
                let text = general(size, precision, spec.alternate);
                let exponent = format!("{size:.*e}", precision - 1);
                let at =
                    exponent.rsplit('e').next().and_then(|e| e.parse::<i32>().ok()).unwrap_or(0);
                match text.contains('e') {
                    false if at >= precision as i32 - 1 && at == precision as i32 - 1 => {
                        scientific_short(size, precision)
                    }
                    false if !text.contains('.') => text + ".0",
                    _ => text,
                }
            }
        },
        Some('e') => scientific(size, precision, spec.alternate),
        Some('f') if spec.alternate && precision == 0 => format!("{size:.0}."),
        Some('f') => format!("{size:.precision$}"),
        Some('g' | 'n') => general(size, precision, spec.alternate),
        Some('%') => format!("{:.precision$}%", size * 100.0),
        _ => {
            let kind = spec.kind.unwrap_or(' ');
            return fail(format!("Unknown format code '{kind}' for object of type 'float'"));
        }
    };
    let upper = spec.kind.is_some_and(|kind| kind.is_ascii_uppercase());
    let digits = if upper { digits.to_uppercase() } else { digits };
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let negative = float.is_sign_negative() && !float.is_nan();
    Ok(number(spec, negative, "", &digits[..whole], &digits[whole..], 3))
}

/// repr's rule for a precision: an exponent where no digit would stand behind the point.
fn scientific_short(size: f64, precision: usize) -> String {
    let text = scientific(size, precision - 1, false);
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    format!("{digits}e{exponent}")
}
