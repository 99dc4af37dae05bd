//! What Python knows of characters and of white space, where Rust goes by other rules.

use regex::Regex;
use std::sync::LazyLock;

/// str.isspace: Unicode's white space and the four separators 0x1c to 0x1f.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What str.splitlines takes for the end of a line, besides "\r\n".
pub fn ends_line(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn is_of(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class.as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

macro_rules! class {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($pattern).ok());
    };
}

class!(NOT_PRINTED, r"^[\p{C}\p{Z}]$");
class!(LETTER, r"^\p{L}$");
class!(NUMBER, r"^\p{N}$");
class!(DECIMAL, r"^\p{Nd}$");
class!(MARK, r"^\p{M}$");

/// str.isprintable.
pub fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || !is_of(&NOT_PRINTED, c)
}

pub fn is_mark(c: char) -> bool {
    is_of(&MARK, c)
}

pub fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || !c.is_ascii() && is_of(&LETTER, c)
}

pub fn is_decimal(c: char) -> bool {
    c.is_ascii_digit() || !c.is_ascii() && is_of(&DECIMAL, c)
}

/// The digit of any script.
pub fn decimal(c: char) -> Option<u8> {
    if c.is_ascii() || !is_decimal(c) {
        return c.to_digit(10).map(|digit| digit as u8);
    }
    // Scripts have their ten digits in a row, from zero.
    let below = (1..=9)
        .rev()
        .find(|below| (0..=*below).all(|n| char::from_u32(c as u32 - n).is_some_and(is_decimal)));
    let run = below.unwrap_or(0);
    Some(if run == 9 { (c as u32 % 10) as u8 } else { run as u8 })
}

pub fn is_digit(c: char) -> bool {
    is_decimal(c)
        || matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}' | '\u{2074}'..='\u{2079}'
            | '\u{2080}'..='\u{2089}' | '\u{2460}'..='\u{2468}' | '\u{2474}'..='\u{247c}'
            | '\u{2488}'..='\u{2490}' | '\u{24ea}' | '\u{24f5}'..='\u{24fd}' | '\u{24ff}'
            | '\u{2776}'..='\u{277e}' | '\u{2780}'..='\u{2788}' | '\u{278a}'..='\u{2792}')
}

pub fn is_numeric(c: char) -> bool {
    c.is_ascii_digit()
        || !c.is_ascii()
            && (is_of(&NUMBER, c)
                || "〇一二三四五六七八九十百千万億兆零壹貳參肆伍陸柒捌玖拾佰仟萬亿".contains(c))
}

pub fn is_alnum(c: char) -> bool {
    is_alpha(c) || is_digit(c) || is_numeric(c)
}

/// What "\w" matches in Python.
pub fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

/// The character as it begins a title.
pub fn titled(c: char) -> String {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => return "ǅ".to_string(),
        'Ǉ' | 'ǈ' | 'ǉ' => return "ǈ".to_string(),
        'Ǌ' | 'ǋ' | 'ǌ' => return "ǋ".to_string(),
        'Ǳ' | 'ǲ' | 'ǳ' => return "ǲ".to_string(),
        // Georgian letters have capitals, but no titles.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => return c.to_string(),
        _ => {}
    }
    let mut upper = c.to_uppercase();
    let first: String = upper.next().into_iter().collect();
    let rest: String = upper.collect();
    match c {
        'ß' | 'ﬀ'..='ﬆ' | 'և' | 'ﬓ'..='ﬗ' => first + &rest.to_lowercase(),
        _ => first + &rest,
    }
}

/// Whether a text has cased letters and all of them are of the case.
pub fn all_cased(
    text: &str,
    is_case: impl Fn(char) -> bool,
    is_other: impl Fn(char) -> bool,
) -> bool {
    text.chars().any(&is_case) && !text.chars().any(is_other)
}

pub fn is_title_letter(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

#[derive(Clone, Copy)]
pub struct Sides {
    pub left: bool,
    pub right: bool,
}

/// str.strip and its one-sided kin; without `chars`: white space.
pub fn strip<'a>(text: &'a str, chars: Option<&str>, sides: Sides) -> &'a str {
    let strips = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if sides.left { text.trim_start_matches(strips) } else { text };
    match sides.right {
        true => text.trim_end_matches(strips),
        false => text,
    }
}

/// str.split without a separator: the words, and with `limit` splits what is left after them.
pub fn split_words(text: &str, limit: Option<usize>) -> Vec<&str> {
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

pub fn rsplit_words(text: &str, limit: Option<usize>) -> Vec<&str> {
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

pub fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = vec![];
    let mut rest = text;
    while let Some(at) = rest.find(ends_line) {
        let end = match rest[at..].starts_with("\r\n") {
            true => at + 2,
            false => at + rest[at..].chars().next().map_or(0, char::len_utf8),
        };
        lines.push(if keep_ends { &rest[..end] } else { &rest[..at] });
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

pub fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map_or(String::new(), titled);
    // Lowered with what stands before it, which a final sigma goes by.
    let lower = text.to_lowercase();
    let first_lower: usize =
        text.chars().next().map_or(0, |c| c.to_lowercase().map(char::len_utf8).sum());
    first + lower.get(first_lower..).unwrap_or("")
}

/// str.title.
pub fn title(text: &str) -> String {
    let lower = text.to_lowercase();
    let same_size = lower.chars().count() == text.chars().count();
    let mut lowered = lower.chars();
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let low = lowered.next().unwrap_or(c);
        let is_cased = c.is_lowercase() || c.is_uppercase() || is_title_letter(c);
        match (is_cased, in_word) {
            (true, true) if same_size => out.push(low),
            (true, true) => out.extend(c.to_lowercase()),
            (true, false) => out.push_str(&titled(c)),
            _ => out.push(c),
        }
        in_word = is_cased;
    }
    out
}

pub fn is_title(text: &str) -> bool {
    let (mut in_word, mut found) = (false, false);
    for c in text.chars() {
        let upper = c.is_uppercase() || is_title_letter(c);
        if upper && in_word || c.is_lowercase() && !in_word {
            return false;
        }
        in_word = upper || c.is_lowercase();
        found |= in_word;
    }
    found
}

pub fn swap_case(text: &str) -> String {
    let swapped = |c: char| -> String {
        match c.is_uppercase() {
            true => c.to_lowercase().collect(),
            false => c.to_uppercase().collect(),
        }
    };
    text.chars().map(swapped).collect()
}

pub fn case_fold(text: &str) -> String {
    // Full folding: by way of the capitals, which joins ß and ss, and both small sigmas.
    let folded = |c: char| -> String {
        match c {
            'ς' => "σ".to_string(),
            'ß' | 'ẞ' => "ss".to_string(),
            c if c.to_uppercase().count() > 1 => {
                c.to_uppercase().flat_map(char::to_lowercase).collect()
            }
            c => c.to_lowercase().collect(),
        }
    };
    text.chars().map(folded).collect()
}
