//! The filter `wordwrap`: Python's textwrap on each line.

use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::text::{is_digit, is_word, split_lines};
use super::super::value::Value;
use super::Arguments;

pub fn wordwrap(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let Some(text) = value.as_str() else {
        return match value {
            Value::Undefined(why) => fail(&**why),
            _ => fail(format!("'{}' object has no attribute 'splitlines'", value.type_name())),
        };
    };
    let width = arguments.int(0, 79)?;
    let width = match usize::try_from(width) {
        Ok(width) if width > 0 => width,
        _ => return fail(format!("invalid width {width} (must be > 0)")),
    };
    let breaks = |index: usize| arguments.get(index).is_none_or(Value::is_true);
    let rules = Rules { width, long_words: breaks(1), hyphens: breaks(3) };
    let between = arguments.text(2)?.unwrap_or("\n");
    interp.meter.text(text.len())?;
    let mut lines = vec![];
    for line in split_lines(text, false) {
        let wrapped = rules.wrap(line);
        interp.meter.repeated(between.len(), wrapped.len() + 1)?;
        lines.push(wrapped.join(between));
    }
    Ok(Value::text(lines.join(between)))
}

struct Rules {
    width: usize,
    long_words: bool,
    hyphens: bool,
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_letter(c: Option<&char>) -> bool {
    c.is_some_and(|c| is_word(*c) && !is_digit(*c))
}

/// What a dash may stand behind.
fn is_punctuated(c: char) -> bool {
    is_word(c) || "!\"'&.,?".contains(c)
}

/// The size of a dash of two or more hyphens between words at `at`.
fn long_dash(chars: &[char], at: usize) -> Option<usize> {
    let size = chars[at..].iter().take_while(|c| **c == '-').count();
    let between =
        at > 0 && is_punctuated(chars[at - 1]) && chars.get(at + size).is_some_and(|c| is_word(*c));
    (size >= 2 && between).then_some(size)
}

/// Whether a word may break behind the hyphen at `at`.
fn breaks_behind(chars: &[char], at: usize) -> bool {
    let back = |n: usize| at.checked_sub(n).and_then(|at| chars.get(at));
    let before = is_letter(back(1)) && is_letter(back(2))
        || is_letter(back(1)) && back(2) == Some(&'-') && is_letter(back(3));
    let after = is_letter(chars.get(at + 1))
        && (is_letter(chars.get(at + 2))
            || chars.get(at + 2) == Some(&'-') && is_letter(chars.get(at + 3)));
    before && after
}

impl Rules {
    /// White space, dashes and words, hyphenated ones in parts.
    fn chunks(&self, line: &str) -> Vec<String> {
        let chars: Vec<char> = line.chars().collect();
        let (mut chunks, mut at) = (vec![], 0);
        while at < chars.len() {
            let end = self.chunk_end(&chars, at);
            chunks.push(chars[at..end].iter().collect());
            at = end;
        }
        chunks
    }

    fn chunk_end(&self, chars: &[char], at: usize) -> usize {
        let blanks = chars[at..].iter().take_while(|c| is_blank(**c)).count();
        if blanks > 0 {
            return at + blanks;
        }
        if !self.hyphens {
            return at + chars[at..].iter().take_while(|c| !is_blank(**c)).count();
        }
        if let Some(size) = long_dash(chars, at) {
            return at + size;
        }
        for end in at + 1..chars.len() {
            // A hyphen in a word ends a part; it needs a character of the part before it.
            if chars[end] == '-' && breaks_behind(chars, end) {
                return end + 1;
            }
            if is_blank(chars[end]) || long_dash(chars, end).is_some() {
                return end;
            }
        }
        chars.len()
    }

    fn wrap(&self, line: &str) -> Vec<String> {
        let mut chunks: Vec<String> = self.chunks(line);
        chunks.reverse();
        let is_space = |chunk: &String| chunk.trim_matches(super::super::text::is_space).is_empty();
        let mut lines: Vec<String> = vec![];
        while !chunks.is_empty() {
            let (mut current, mut length): (Vec<String>, usize) = (vec![], 0);
            if !lines.is_empty() && chunks.last().is_some_and(is_space) {
                chunks.pop();
            }
            while let Some(chunk) = chunks.last() {
                let size = chunk.chars().count();
                if length + size > self.width {
                    break;
                }
                length += size;
                current.extend(chunks.pop());
            }
            let too_long = chunks.last().is_some_and(|chunk| chunk.chars().count() > self.width);
            if too_long {
                self.long_word(&mut chunks, &mut current, length);
            }
            if current.last().is_some_and(is_space) {
                current.pop();
            }
            if !current.is_empty() {
                lines.push(current.concat());
            }
        }
        lines
    }

    fn long_word(&self, chunks: &mut Vec<String>, current: &mut Vec<String>, length: usize) {
        let Some(word) = chunks.pop() else { return };
        if !self.long_words {
            match current.is_empty() {
                true => current.push(word),
                false => chunks.push(word),
            }
            return;
        }
        let space = self.width - length;
        let chars: Vec<char> = word.chars().collect();
        let mut end = space;
        if self.hyphens && chars.len() > space {
            let hyphen = chars[..space].iter().rposition(|c| *c == '-');
            if let Some(hyphen) =
                hyphen.filter(|at| *at > 0 && chars[..*at].iter().any(|c| *c != '-'))
            {
                end = hyphen + 1;
            }
        }
        current.push(chars[..end].iter().collect());
        chunks.push(chars[end..].iter().collect());
    }
}
