//! A template's tokens, as Jinja 3.1 cuts them with trim_blocks and lstrip_blocks on: what the
//! environment of transformers is set to.

use super::error::{syntax, Result};
use super::literals::{number, string};
use std::sync::Arc;

/// Code of one tag outside of string literals: an expression's depth, and so the stack, grows with
/// it. Templates in use have some 300 bytes.
const TAG_BYTES_MAX: usize = 16 << 10;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Data(Arc<str>),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Arc<str>),
    Text(Arc<str>),
    Int(i128),
    Float(f64),
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    line_starting: bool,
    tokens: Vec<(Token, usize)>,
}

/// The tokens and their lines, ended by `Token::End`.
pub fn tokens(source: &str) -> Result<Vec<(Token, usize)>> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    // The line break at a template's end is not kept.
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starting: true, tokens: vec![] };
    while lexer.at < source.len() {
        lexer.piece()?;
    }
    let line = lexer.line;
    lexer.tokens.push((Token::End, line));
    Ok(lexer.tokens)
}

fn find_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(1))
        .find(|&i| bytes[i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(super::text::is_space)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn skip(&mut self, bytes: usize) -> &'s str {
        let skipped = &self.source[self.at..self.at + bytes];
        self.line += skipped.matches('\n').count();
        self.at += bytes;
        if bytes > 0 {
            self.line_starting = skipped.ends_with('\n');
        }
        skipped
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((token, self.line));
    }

    /// Text up to the next tag, and the tag.
    fn piece(&mut self) -> Result<()> {
        let rest = self.rest();
        let Some(start) = find_tag(rest) else {
            self.push(Token::Data(rest.into()));
            self.skip(rest.len());
            return Ok(());
        };
        let tag = &rest[start..];
        let raw = raw_begin(tag);
        let after = tag.as_bytes().get(2);
        let sign = match after {
            Some(b'-') => '-',
            Some(b'+') => '+',
            _ => ' ',
        };
        self.text_before(&rest[..start], sign, tag.starts_with("{{"));
        if let Some(size) = raw {
            self.skip(size);
            return self.raw_text();
        }
        let opening = if sign == ' ' { 2 } else { 3 };
        match &tag[..2] {
            "{#" => {
                self.skip(opening);
                self.comment()
            }
            "{%" => {
                self.push(Token::BlockBegin);
                self.skip(opening);
                self.code(false)
            }
            _ => {
                self.push(Token::VariableBegin);
                self.skip(opening);
                self.code(true)
            }
        }
    }

    fn text_before(&mut self, text: &'s str, sign: char, is_variable: bool) {
        let kept = match sign {
            '-' => text.trim_end_matches(super::text::is_space),
            '+' => text,
            _ if is_variable => text,
            _ => without_indent(text, self.line_starting),
        };
        if !kept.is_empty() {
            self.push(Token::Data(kept.into()));
        }
        self.skip(text.len());
    }

    /// Behind an end of a tag: "-" takes the white space that follows, otherwise one line break goes.
    fn close(&mut self, bytes: usize, strips: bool, trims_line: bool) {
        let rest = &self.rest()[bytes..];
        let more = match (strips, trims_line) {
            (true, _) => rest.len() - trim_start(rest).len(),
            (false, true) => usize::from(rest.starts_with('\n')),
            _ => 0,
        };
        self.skip(bytes + more);
    }

    fn comment(&mut self) -> Result<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else {
            return syntax(self.line, "Missing end of comment tag");
        };
        let sign = rest[..end].chars().next_back();
        match sign {
            Some('-') => self.close(end + 2, true, false),
            Some('+') => self.close(end + 2, false, false),
            _ => self.close(end + 2, false, true),
        }
        Ok(())
    }

    fn raw_text(&mut self) -> Result<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let start = from + found;
            let Some((opening, size)) = word_tag(&rest[start..], "endraw") else {
                from = start + 2;
                continue;
            };
            self.text_before(&rest[..start], opening, false);
            let tag = &rest[start..start + size];
            let sign = tag[..size - 2].chars().next_back();
            self.close(size, sign == Some('-'), sign != Some('+'));
            return Ok(());
        }
        syntax(self.line, "Missing end of raw directive")
    }

    /// The inside of a tag and its end.
    fn code(&mut self, is_variable: bool) -> Result<()> {
        let end = if is_variable { "}}" } else { "%}" };
        let (mut open, mut code) = (vec![], 0);
        loop {
            let rest = self.rest();
            let spaces = rest.len() - trim_start(rest).len();
            let ahead = &rest[spaces..];
            if ahead.is_empty() {
                self.skip(rest.len());
                return Ok(()); // not closed: the parser says so
            }
            self.skip(spaces);
            if open.is_empty() {
                let signed = ahead.starts_with(['-', '+']) && ahead[1..].starts_with(end);
                if signed && (ahead.starts_with('-') || !is_variable) {
                    self.push(if is_variable { Token::VariableEnd } else { Token::BlockEnd });
                    self.close(3, ahead.starts_with('-'), false);
                    return Ok(());
                }
                if ahead.starts_with(end) {
                    self.push(if is_variable { Token::VariableEnd } else { Token::BlockEnd });
                    self.close(2, false, !is_variable);
                    return Ok(());
                }
            }
            code += self.token(ahead, &mut open)?;
            if code > TAG_BYTES_MAX {
                return syntax(
                    self.line,
                    format!(
                        "a tag has more than {TAG_BYTES_MAX} bytes outside of strings; split it up"
                    ),
                );
            }
        }
    }

    /// One token; how many bytes of code it is.
    fn token(&mut self, ahead: &'s str, open: &mut Vec<char>) -> Result<usize> {
        let first = ahead.chars().next().unwrap_or(' ');
        let after_dot = self.source[..self.at].ends_with('.');
        if first.is_ascii_digit() {
            if let Some((token, size)) = number(ahead, after_dot) {
                let Some(token) = token else {
                    return syntax(self.line, "integers beyond 128 bits are not supported");
                };
                self.push(token);
                self.skip(size);
                return Ok(size);
            }
        }
        if first.is_alphanumeric() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || is_mark(c);
            let size = ahead.find(|c| !is_part(c)).unwrap_or(ahead.len());
            if !(first.is_alphabetic() || first == '_') {
                return syntax(self.line, "Invalid character in identifier");
            }
            self.push(Token::Name(ahead[..size].into()));
            self.skip(size);
            return Ok(size);
        }
        if first == '\'' || first == '"' {
            let Some(size) = string_size(ahead) else {
                return syntax(self.line, format!("unexpected char {first:?}"));
            };
            let text = string(&ahead[1..size - 1], self.line)?;
            self.push(Token::Text(text.into()));
            self.skip(size);
            return Ok(1);
        }
        let Some(sign) = SIGNS.iter().find(|sign| ahead.starts_with(**sign)) else {
            return syntax(self.line, format!("unexpected char {first:?}"));
        };
        self.balance(sign, open)?;
        self.push(Token::Sign(sign));
        self.skip(sign.len());
        Ok(sign.len())
    }

    fn balance(&self, sign: &str, open: &mut Vec<char>) -> Result<()> {
        match sign {
            "{" => open.push('}'),
            "(" => open.push(')'),
            "[" => open.push(']'),
            "}" | ")" | "]" => match open.pop() {
                Some(expected) if sign.starts_with(expected) => {}
                Some(expected) => {
                    return syntax(self.line, format!("unexpected '{sign}', expected '{expected}'"))
                }
                None => return syntax(self.line, format!("unexpected '{sign}'")),
            },
            _ => {}
        }
        Ok(())
    }
}

/// Marks that may stand within identifiers.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && super::text::is_mark(c)
}

/// lstrip_blocks: nothing but white space between a line's begin and the tag goes.
fn without_indent(text: &str, line_starting: bool) -> &str {
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    let indent = &text[line..];
    let is_blank = !indent.is_empty() && indent.chars().all(super::text::is_space);
    match (line > 0 || line_starting) && is_blank {
        true => &text[..line],
        false => text,
    }
}

fn string_size(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == bytes[0] => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The sign behind "{%" and the size of a tag that holds one word; its end may have any sign.
fn word_tag(tag: &str, word: &str) -> Option<(char, usize)> {
    let inside = tag.strip_prefix("{%")?;
    let sign = inside.chars().next().filter(|c| matches!(c, '-' | '+'));
    let inside = &inside[usize::from(sign.is_some())..];
    let rest = trim_start(trim_start(inside).strip_prefix(word)?);
    let rest = match rest.starts_with(['-', '+']) {
        true => &rest[1..],
        false => rest,
    };
    let rest = rest.strip_prefix("%}")?;
    Some((sign.unwrap_or(' '), tag.len() - rest.len()))
}

/// The size of `{% raw %}`, with the white space that "-%}" takes.
fn raw_begin(tag: &str) -> Option<usize> {
    let (_, size) = word_tag(tag, "raw")?;
    match &tag[size - 3..size] {
        "+%}" => None,
        "-%}" => Some(tag.len() - trim_start(&tag[size..]).len()),
        _ => Some(size),
    }
}
