//! Numbers and strings as they stand in a template.

use super::error::{syntax, Result};
use super::lexer::Token;

/// Digits with single underscores between them: how many bytes.
fn digits(text: &[u8], is_digit: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while at < text.len() {
        let underscored =
            at > 0 && text[at] == b'_' && text.get(at + 1).is_some_and(|d| is_digit(*d));
        if !is_digit(text[at]) && !underscored {
            break;
        }
        at += 1;
    }
    at
}

fn float_size(text: &[u8]) -> Option<usize> {
    let is_decimal = |byte: u8| byte.is_ascii_digit();
    let mut size = digits(text, is_decimal);
    let mut is_float = false;
    if text.get(size) == Some(&b'.') {
        let fraction = digits(&text[size + 1..], is_decimal);
        if fraction > 0 {
            size += 1 + fraction;
            is_float = true;
        }
    }
    if matches!(text.get(size), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(text.get(size + 1), Some(b'+' | b'-')));
        let exponent = digits(&text[(size + 1 + signed).min(text.len())..], is_decimal);
        if exponent > 0 {
            size += 1 + signed + exponent;
            is_float = true;
        }
    }
    is_float.then_some(size)
}

/// The number that `text` begins with; no token for one too large.
pub fn number(text: &str, after_dot: bool) -> Option<(Option<Token>, usize)> {
    let bytes = text.as_bytes();
    if let Some(size) = float_size(bytes).filter(|_| !after_dot) {
        let float = text[..size].replace('_', "").parse().ok()?;
        return Some((Some(Token::Float(float)), size));
    }
    let radix = match bytes.get(1).map(u8::to_ascii_lowercase) {
        Some(b'b') => 2,
        Some(b'o') => 8,
        Some(b'x') => 16,
        _ => 10,
    };
    if bytes[0] == b'0' && radix != 10 {
        let of_radix = |byte: u8| char::from(byte).is_digit(radix);
        let prefixed = usize::from(bytes.get(2) == Some(&b'_'));
        let size = digits(&bytes[2 + prefixed..], of_radix);
        if size > 0 {
            let size = 2 + prefixed + size;
            let plain = text[2..size].replace('_', "");
            return Some((i128::from_str_radix(&plain, radix).ok().map(Token::Int), size));
        }
    }
    let size = match bytes[0] {
        b'0' => digits(bytes, |byte| byte == b'0'),
        _ => digits(bytes, |byte| byte.is_ascii_digit()),
    };
    Some((text[..size].replace('_', "").parse().ok().map(Token::Int), size))
}

fn escaped(c: char) -> Option<&'static str> {
    Some(match c {
        '\n' => "",
        '\\' => "\\",
        '\'' => "'",
        '"' => "\"",
        'a' => "\u{7}",
        'b' => "\u{8}",
        'f' => "\u{c}",
        'n' => "\n",
        'r' => "\r",
        't' => "\t",
        'v' => "\u{b}",
        _ => return None,
    })
}

/// A string's text: Python's escapes.
pub fn string(inside: &str, line: usize) -> Result<String> {
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            return syntax(line, "\\ at end of string");
        };
        let (text, size) = match (escaped(c), c) {
            (Some(text), _) => (text.to_string(), c.len_utf8()),
            (None, 'x') => code_point(rest, 2, 16, line)?,
            (None, 'u') => code_point(rest, 4, 16, line)?,
            (None, 'U') => code_point(rest, 8, 16, line)?,
            (None, '0'..='7') => octal(rest),
            (None, 'N') => {
                return syntax(line, "\\N{...} is not supported: write the character or \\u....")
            }
            // Jinja turns what is no ASCII into an escape first, so a backslash before it is doubled.
            (None, _) => (format!("\\{c}"), c.len_utf8()),
        };
        out.push_str(&text);
        rest = &rest[size..];
    }
    out.push_str(rest);
    Ok(out)
}

fn octal(text: &str) -> (String, usize) {
    let size = text.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let code = u32::from_str_radix(&text[..size], 8).unwrap_or(0);
    (char::from_u32(code).unwrap_or_default().to_string(), size)
}

fn code_point(text: &str, digits: usize, radix: u32, line: usize) -> Result<(String, usize)> {
    let code = text.get(1..=digits).and_then(|hex| {
        hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, radix).ok())?
    });
    match (code, code.and_then(char::from_u32)) {
        (_, Some(c)) => Ok((c.to_string(), digits + 1)),
        (Some(high @ 0xD800..=0xDBFF), None) => {
            // A surrogate pair stays two halves in Python; no template in use writes one.
            syntax(line, format!("\\u{high:04x}: a half of a surrogate pair is no character"))
        }
        _ => syntax(line, "truncated or impossible \\ escape in a string"),
    }
}
