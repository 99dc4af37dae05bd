//! MarkupSafe's escaping, and what undoes it.

use super::text::split_words;
use super::value::Value;
use std::borrow::Cow;

pub fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

/// A text escaped unless it is Markup.
pub fn escape(value: &Value) -> Cow<'_, str> {
    let text = value.as_str().unwrap_or_default();
    match value.is_markup() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(escape_text(text)),
    }
}

/// Markup.striptags: without tags and comments, white space as single spaces, entities resolved.
pub fn strip_tags(text: &str) -> Result<String, String> {
    let mut parts = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('<') {
        let start = at + found;
        let end = match text[start..].starts_with("<!--") {
            true => text[start + 4..].find("-->").map(|end| start + 4 + end + 3),
            false => text[start..].find('>').map(|end| start + end + 1),
        };
        let Some(end) = end else { break };
        parts.push_str(&text[at..start]);
        at = end;
    }
    parts.push_str(&text[at..]);
    unescape(&split_words(&parts, None).join(" "))
}

const NAMED: [(&str, &str); 24] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("copy", "©"),
    ("reg", "®"),
    ("raquo", "»"),
    ("laquo", "«"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("euro", "€"),
    ("deg", "°"),
    ("middot", "·"),
    ("bull", "•"),
    ("times", "×"),
    ("trade", "™"),
    ("sect", "§"),
];

/// html.unescape for the entities above and for numbers; the name of one that is not known here.
pub fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let size = entity(rest, &mut out)?;
        rest = &rest[size..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The bytes of the entity that `text` begins with, its character written.
fn entity(text: &str, out: &mut String) -> Result<usize, String> {
    let body = &text[1..];
    if let Some(number) = body.strip_prefix('#') {
        let hex = number.starts_with(['x', 'X']);
        let digits = &number[usize::from(hex)..];
        let radix = if hex { 16 } else { 10 };
        let size = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        if size > 0 {
            let code = u32::from_str_radix(&digits[..size], radix).unwrap_or(u32::MAX);
            match code {
                0x80..=0x9f => return Err(format!("&#{code};")),
                _ => out.push(char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}')),
            }
            let closed = usize::from(digits[size..].starts_with(';'));
            return Ok(2 + usize::from(hex) + size + closed);
        }
    }
    let size = body.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(body.len());
    let name = &body[..size];
    let closed = body[size..].starts_with(';');
    match NAMED.iter().find(|(known, _)| *known == name) {
        Some((_, c)) if closed => {
            out.push_str(c);
            Ok(size + 2)
        }
        _ if size == 0 => {
            out.push('&');
            Ok(1)
        }
        // Older entities end without ";" too, so any name may be one.
        _ if closed || NAMED.iter().any(|(known, _)| name.starts_with(known)) => {
            Err(format!("&{name};"))
        }
        _ => {
            out.push('&');
            Ok(1)
        }
    }
}
