//! Numbers as text, and text as numbers.

use super::text::is_space;

/// repr of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16.
pub fn float_text(value: f64) -> String {
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

fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit =
        |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let fits = (0..bytes.len())
        .all(|at| bytes[at] != b'_' || is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    fits.then(|| text.replace('_', ""))
}

/// Decimal digits of every script, as ASCII ones.
fn ascii_digits(text: &str) -> String {
    text.chars()
        .map(|c| super::text::decimal(c).map_or(c, |digit| char::from(b'0' + digit)))
        .collect()
}

/// int(text, base).
pub fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = ascii_digits(text.trim_matches(is_space));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefix = |letter: char, of: u32| {
        let lower = digits.get(..2)?.to_ascii_lowercase();
        let fits = lower.starts_with('0') && lower.ends_with(letter) && (base == of || base == 0);
        fits.then(|| (of, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])))
    };
    let prefixed = prefix('x', 16).or_else(|| prefix('o', 8)).or_else(|| prefix('b', 2));
    let (base, digits) = prefixed.unwrap_or((if base == 0 { 10 } else { base }, digits));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(&without_underscores(digits)?, base).ok().map(|int| sign * int)
}

/// float(text).
pub fn parse_float(text: &str) -> Option<f64> {
    let text = ascii_digits(text.trim_matches(is_space));
    let plain = without_underscores(&text)?;
    let lower = plain.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    let is_word = matches!(unsigned, "inf" | "infinity" | "nan");
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !is_word && !is_number {
        return None;
    }
    plain.parse().ok()
}

/// round(value, digits), to even where two are as near.
pub fn round(value: f64, digits: i128) -> f64 {
    if !value.is_finite() || digits > 330 {
        return value;
    }
    if digits >= 0 {
        return format!("{value:.*}", digits as usize).parse().unwrap_or(value);
    }
    if digits < -310 {
        return 0.0f64.copysign(value);
    }
    let exact = format!("{:.0}", value.abs().trunc());
    let has_fraction = value.fract() != 0.0;
    let rounded = round_digits(&exact, -digits as usize, has_fraction);
    rounded.parse::<f64>().unwrap_or(0.0).copysign(value)
}

/// A whole number's digits with the last `drop` rounded to zeros, half to even.
pub fn round_digits(digits: &str, drop: usize, more: bool) -> String {
    let padded = format!("{digits:0>width$}", width = drop + 1);
    let (kept, dropped) = padded.split_at(padded.len() - drop);
    let half = format!("5{}", "0".repeat(drop - 1));
    let is_odd = kept.bytes().last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    let up = dropped > half.as_str() || dropped == half && (more || is_odd);
    let kept = if up { increment(kept) } else { kept.to_string() };
    kept + &"0".repeat(drop)
}

fn increment(digits: &str) -> String {
    let mut out: Vec<u8> = digits.bytes().collect();
    for digit in out.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return String::from_utf8_lossy(&out).into_owned();
        }
        *digit = b'0';
    }
    format!("1{}", String::from_utf8_lossy(&out))
}

/// How "%g" writes a finite number: `precision` digits, zeros at the end only with `alternate`.
pub fn general(value: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |text: &str| match text.contains('.') && !alternate {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        return short(digits) + &exponent_text(exponent);
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    let plain = format!("{value:.decimals$}");
    match alternate && decimals == 0 {
        true => plain + ".",
        false => short(&plain),
    }
}

pub fn exponent_text(exponent: i32) -> String {
    format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// How "%e" writes a finite number.
pub fn scientific(value: f64, precision: usize, alternate: bool) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if alternate && precision == 0 { "." } else { "" };
    digits.to_string() + point + &exponent_text(exponent.parse().unwrap_or(0))
}
