//! The spans that the assistant wrote: what the template's `{% generation %}` blocks rendered
//! (Hugging Face's extension of Jinja). The interpreter sets a mark before and behind it, and the marks
//! are taken out again.
//!
//! The marks are two characters that do not occur in the rendered text, so neither a message nor the
//! template can fake one. That the text without marks is the text rendered without them is checked:
//! a template that trims or cuts what a block rendered is refused, not answered with wrong spans.

use crate::abi::{invalid, Outcome};
use std::ops::Range;

/// Spans of the rendered text, in bytes, in order, disjoint and not empty.
pub type Spans = Vec<Range<usize>>;

/// Two characters of equal size that do not occur in `text`: private-use characters of the last
/// plane, from the end.
pub fn marks_for(text: &str) -> Outcome<(char, char)> {
    let mut marks = ('\u{100000}'..='\u{10FFFD}').rev().filter(|c| !text.contains(*c));
    match (marks.next(), marks.next()) {
        (Some(open), Some(close)) => Ok((open, close)),
        _ => Err(invalid("the text uses every private character: no mark is left")),
    }
}

/// The spans between marks, once it is sure that `marked` is `text` with marks.
pub fn spans_of(text: &str, marked: &str, marks: (char, char)) -> Outcome<Spans> {
    let (open, close) = (Some(marks.0), Some(marks.1));
    let (mut spans, mut depth, mut begin) = (Spans::new(), 0usize, 0usize);
    let mut position = 0; // in the text without marks
    let mut whole = true;
    for piece in marked.split_inclusive(|c| Some(c) == open || Some(c) == close) {
        let mark = piece.chars().next_back().filter(|c| Some(*c) == open || Some(*c) == close);
        let plain = &piece[..piece.len() - mark.map_or(0, char::len_utf8)];
        whole &= text[position..].starts_with(plain);
        if !whole {
            break;
        }
        position += plain.len();
        match mark {
            Some(mark) if Some(mark) == open => {
                if depth == 0 {
                    begin = position;
                }
                depth += 1;
            }
            Some(_) if depth == 0 => whole = false,
            Some(_) => {
                depth -= 1;
                if depth == 0 && begin < position {
                    spans.push(begin..position);
                }
            }
            None => {}
        }
    }
    if !whole || depth != 0 || position != text.len() {
        return Err(invalid(
            "the template changes what a {% generation %} block rendered (trims, cuts or compares it), \
             so the trained spans cannot be told: put the change inside the block",
        ));
    }
    Ok(spans)
}
