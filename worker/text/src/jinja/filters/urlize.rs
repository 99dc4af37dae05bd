//! The filter `urlize`: addresses in a text become links.

use super::super::error::{fail, Result};
use super::super::html::escape_text;
use super::super::interp::Interp;
use super::super::iterate::collect;
use super::super::repr::text_of;
use super::super::text::{is_space, split_words};
use super::super::value::Value;
use super::Arguments;
use regex::Regex;
use std::sync::LazyLock;

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?ix)
        ^(?:
            (?:https?://|www\.) (?:(?:[\w%-]+\.)+)? (?:[a-z]{2,63}|xn--[\w%]{2,59})
            | (?:[\w%-]{2,63}\.)+ (?:com|net|int|edu|gov|org|info|mil)
            | https?:// (?: (?:\d{1,3}(?:\.\d{1,3}){3}) | \[(?:[\da-f]{0,4}:){2}(?:[\da-f]{0,4}:?){1,6}\] )
        )
        (?::\d{1,5})? (?:[/?\#]\S*)? \n?$";
    Regex::new(pattern).ok()
});
static MAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\S+@\w[\w.-]*\.\w+\n?$").ok());
static SCHEME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:[\w.+-]{2,}:(?:/){0,2})$").ok());

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

struct Links {
    limit: Option<usize>,
    /// The attributes `rel` and `target`, ready to be written.
    attributes: String,
    schemes: Vec<String>,
}

pub fn urlize(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let mut rel: Vec<&str> = split_words(arguments.text(3)?.unwrap_or(""), None);
    if arguments.flag(1) {
        rel.push("nofollow");
    }
    rel.push("noopener");
    rel.sort_unstable();
    rel.dedup();
    let mut attributes = format!(" rel=\"{}\"", escape_text(&rel.join(" ")));
    if let Some(target) = arguments.text(2)?.filter(|target| !target.is_empty()) {
        attributes.push_str(&format!(" target=\"{}\"", escape_text(target)));
    }
    let mut schemes = vec![];
    if let Some(given) = arguments.some(4) {
        for scheme in collect(interp, given)? {
            let scheme = scheme.as_str().unwrap_or_default().to_string();
            if !matches(&SCHEME, &scheme) {
                return fail(format!("'{scheme}' is not a valid URI scheme prefix."));
            }
            schemes.push(scheme);
        }
    }
    let limit = match arguments.some(0) {
        Some(_) => Some(usize::try_from(arguments.int(0, 0)?).unwrap_or(0)),
        None => None,
    };
    let links = Links { limit, attributes, schemes };
    let text = match value.is_markup() {
        true => text_of(interp, value)?.into_owned(),
        false => escape_text(&text_of(interp, value)?),
    };
    let mut out = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let word_end = rest.find(is_space).unwrap_or(rest.len());
        interp.write(&mut out, &links.word(&rest[..word_end]))?;
        rest = &rest[word_end..];
        let space_end = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
        interp.write(&mut out, &rest[..space_end])?;
        rest = &rest[space_end..];
    }
    Ok(if interp.autoescape.get() { Value::markup(out) } else { Value::text(out) })
}

const OPENING: [&str; 3] = ["(", "<", "&lt;"];
const CLOSING: [&str; 6] = [")", ">", ".", ",", "\n", "&gt;"];

/// A word without the brackets before it and the punctuation behind it.
fn parts(word: &str) -> (String, String, String) {
    let mut start = 0;
    while let Some(sign) = OPENING.iter().find(|sign| word[start..].starts_with(**sign)) {
        start += sign.len();
    }
    let mut end = word.len();
    while let Some(sign) = CLOSING.iter().find(|sign| word[start..end].ends_with(**sign)) {
        end -= sign.len();
    }
    let mut middle = word[start..end].to_string();
    let mut tail = word[end..].to_string();
    for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
        let opened = middle.matches(open).count();
        if opened <= middle.matches(close).count() {
            continue;
        }
        for _ in 0..opened.min(tail.matches(close).count()) {
            let cut = tail.find(close).map_or(0, |at| at + close.len());
            middle.push_str(&tail[..cut]);
            tail = tail[cut..].to_string();
        }
    }
    (word[..start].to_string(), middle, tail)
}

impl Links {
    fn shown(&self, address: &str) -> String {
        match self.limit {
            Some(limit) if address.chars().count() > limit => {
                address.chars().take(limit).chain("...".chars()).collect()
            }
            _ => address.to_string(),
        }
    }

    fn word(&self, word: &str) -> String {
        let (head, middle, tail) = parts(word);
        let attributes = &self.attributes;
        let linked = if matches(&ADDRESS, &middle) {
            let has_scheme = middle.starts_with("https://") || middle.starts_with("http://");
            let scheme = if has_scheme { "" } else { "https://" };
            format!("<a href=\"{scheme}{middle}\"{attributes}>{}</a>", self.shown(&middle))
        } else if middle.strip_prefix("mailto:").is_some_and(|mail| matches(&MAIL, mail)) {
            format!("<a href=\"{middle}\">{}</a>", &middle[7..])
        } else if middle.contains('@')
            && !middle.starts_with("www.")
            && !middle.starts_with('@')
            && !middle.contains(':')
            && matches(&MAIL, &middle)
        {
            format!("<a href=\"mailto:{middle}\">{middle}</a>")
        } else {
            let mut linked = middle;
            for scheme in &self.schemes {
                if linked != *scheme && linked.starts_with(scheme) {
                    linked = format!("<a href=\"{linked}\"{attributes}>{linked}</a>");
                }
            }
            linked
        };
        head + &linked + &tail
    }
}
