//! What happens to a template's source before the engine parses it:
//!
//! * `{% generation %}` tags, which the engine does not know, become a filter block (generation.rs);
//! * "\r\n" and "\r" become "\n", as in Jinja;
//! * tags that are too long are refused.
//!
//! Line numbers and whitespace control stay what they were.

use crate::abi::{invalid, Failure, Outcome};
use crate::generation::FILTER;

/// Code of one tag outside of string literals. The engine's work on an expression grows with the
/// square of its length and its stack with the length; templates in use have some 300 bytes.
const TAG_BYTES_MAX: usize = 16 << 10;

pub struct Source {
    pub text: String,
    pub marks_generation: bool,
}

pub fn rewrite(source: &str) -> Outcome<Source> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out =
        Source { text: String::with_capacity(source.len() + 256), marks_generation: false };
    let mut rest = source.as_str();
    while let Some(start) = find_tag(rest) {
        out.text.push_str(&rest[..start]);
        rest = &rest[start..];
        let size = match &rest[..2] {
            "{#" => rest.find("#}").map_or(rest.len(), |end| end + 2),
            _ => match raw_block(rest) {
                Some(size) => size,
                None => tag_size(rest).map_err(|what| at_line(&out.text, what))?,
            },
        };
        out.add_tag(&rest[..size]);
        rest = &rest[size..];
    }
    out.text.push_str(rest);
    Ok(out)
}

fn at_line(before: &str, what: &str) -> Failure {
    invalid(format!("line {}: {what}", before.matches('\n').count() + 1))
}

fn find_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(1))
        .find(|&i| bytes[i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
}

/// The size of `{{ ... }}` or `{% ... %}`; quotes hide what would end it.
fn tag_size(tag: &str) -> Result<usize, &'static str> {
    let bytes = tag.as_bytes();
    let is_expression = bytes[1] == b'{';
    let end: &[u8] = if is_expression { b"}}" } else { b"%}" };
    let (mut at, mut code, mut braces) = (2, 0, 0);
    while at < bytes.len() {
        // "}}" also closes two dicts: those go first.
        if bytes[at..].starts_with(end) && (!is_expression || braces <= 0) {
            return Ok(at + 2);
        }
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = string_end(bytes, at + 1, quote),
            byte => {
                braces += i32::from(byte == b'{') - i32::from(byte == b'}');
                code += 1;
                at += 1;
            }
        }
        if code > TAG_BYTES_MAX {
            return Err("a tag has more than 16384 bytes outside of strings; split it up");
        }
    }
    Ok(bytes.len()) // not closed: the parser says so
}

fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A block tag in three: "{%-", what stands in it, "%}".
fn parts(tag: &str) -> Option<(&str, &str, &str)> {
    let inside = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let open = if inside.starts_with(['-', '+']) { 3 } else { 2 };
    let rest = &tag[open..];
    let close = if rest.ends_with("-%}") || rest.ends_with("+%}") { 3 } else { 2 };
    let words = rest.get(..rest.len().checked_sub(close)?)?;
    Some((&tag[..open], words, &tag[tag.len() - close..]))
}

fn words(tag: &str) -> Option<&str> {
    parts(tag).map(|(_, words, _)| words.trim())
}

/// The size of `{% raw %}...{% endraw %}`, whose inside is no template.
fn raw_block(text: &str) -> Option<usize> {
    let open = text.find("%}").map(|end| end + 2)?;
    if words(&text[..open])? != "raw" {
        return None;
    }
    let mut at = open;
    while let Some(start) = text[at..].find("{%") {
        at += start;
        let end = at + text[at..].find("%}").map(|end| end + 2)?;
        if words(&text[at..end]) == Some("endraw") {
            return Some(end);
        }
        at += 2;
    }
    None
}

impl Source {
    fn add_tag(&mut self, tag: &str) {
        let Some((open, inside, close)) = parts(tag) else {
            return self.text.push_str(tag);
        };
        let word = inside.trim();
        // A block of its own scope, as transformers' is: what is set in it ends with it.
        let inside = match word {
            "generation" => inside.replacen(word, &format!("with %}}{{% filter {FILTER}"), 1),
            "endgeneration" => inside.replacen(word, "endfilter %}{% endwith", 1),
            _ => inside.to_string(),
        };
        self.marks_generation |= word == "generation";
        self.text.extend([open, &inside, close]);
    }
}
