//! Python's iteration.

use super::error::{fail, Result};
use super::interp::Interp;
use super::objects::{LoopState, Stream};
use super::value::{List, Range, Value, View};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// An iterator over a value.
pub enum Items {
    List(Rc<List>, usize),
    Dict(Rc<super::dict::Dict>, View, usize),
    /// A text, and the byte it stands at.
    Text(Arc<str>, usize),
    Range(Rc<Range>, i128),
    Stream(Rc<Stream>),
    Loop(Rc<LoopState>),
    Empty,
}

impl Items {
    pub fn of(value: &Value) -> Result<Items> {
        Ok(match value {
            Value::List(list) | Value::Tuple(list) => Items::List(list.clone(), 0),
            Value::Dict(dict) => Items::Dict(dict.clone(), View::Keys, 0),
            Value::View(dict, view) => Items::Dict(dict.clone(), *view, 0),
            // Markup's iterator is str's, which gives plain texts.
            Value::Str(text) | Value::Markup(text) => Items::Text(text.clone(), 0),
            Value::Range(range) => Items::Range(range.clone(), 0),
            Value::Stream(stream) => Items::Stream(stream.clone()),
            Value::Loop(state) => Items::Loop(state.clone()),
            Value::Undefined(_) => Items::Empty,
            _ => return fail(format!("'{}' object is not iterable", value.type_name())),
        })
    }

    pub fn of_vec(items: Vec<Value>) -> Items {
        Items::List(Rc::new(List { items, depth: 0, is_group: false }), 0)
    }

    pub fn next(&mut self, interp: &Interp) -> Result<Option<Value>> {
        interp.meter.spend(1)?;
        Ok(match self {
            Items::List(list, at) => {
                *at += 1;
                list.items.get(*at - 1).cloned()
            }
            Items::Dict(dict, view, at) => {
                *at += 1;
                match (dict.entries.get(*at - 1), view) {
                    (None, _) => None,
                    (Some((key, _)), View::Keys) => Some(key.clone()),
                    (Some((_, value)), View::Values) => Some(value.clone()),
                    (Some((key, value)), View::Items) => {
                        Some(Value::tuple(vec![key.clone(), value.clone()])?)
                    }
                }
            }
            Items::Text(text, at) => {
                let Some(c) = text[*at..].chars().next() else { return Ok(None) };
                *at += c.len_utf8();
                Some(Value::text(c.encode_utf8(&mut [0; 4])))
            }
            Items::Range(range, at) => {
                *at += 1;
                (*at <= range.size()).then(|| range.at(*at - 1))
            }
            Items::Stream(stream) => stream.clone().pull(interp)?,
            Items::Loop(state) => {
                let state = state.clone();
                match state.advance(interp)? {
                    Some(item) => Some(Value::tuple(vec![item, Value::Loop(state)])?),
                    None => None,
                }
            }
            Items::Empty => None,
        })
    }
}

impl Stream {
    pub fn pull(&self, interp: &Interp) -> Result<Option<Value>> {
        // Taken out while it runs: a generator that draws from itself is an error, as in Python.
        let Some(mut next) = self.next.borrow_mut().take() else { return Ok(None) };
        let item = next(interp)?;
        if item.is_some() {
            self.next.replace(Some(next));
        }
        Ok(item)
    }

    pub fn value(
        depth: u32,
        next: impl FnMut(&Interp) -> Result<Option<Value>> + 'static,
    ) -> Result<Value> {
        let depth = super::value::nested(depth + 1)?;
        Ok(Value::Stream(Rc::new(Stream { next: RefCell::new(Some(Box::new(next))), depth })))
    }

    /// A generator over items that are there already.
    pub fn of_vec(items: Vec<Value>) -> Result<Value> {
        let depth = items.iter().map(Value::depth).max().unwrap_or(0);
        let mut items = items.into_iter();
        Stream::value(depth, move |_| Ok(items.next()))
    }
}

/// list(value).
pub fn collect(interp: &Interp, value: &Value) -> Result<Vec<Value>> {
    let mut items = Items::of(value)?;
    let mut out = vec![];
    while let Some(item) = items.next(interp)? {
        out.push(item);
    }
    Ok(out)
}

/// len(value); None if it has no size.
pub fn size(interp: &Interp, value: &Value) -> Result<Option<usize>> {
    Ok(Some(match value {
        Value::Str(text) | Value::Markup(text) => {
            interp.meter.text(text.len())?;
            text.chars().count()
        }
        Value::List(list) | Value::Tuple(list) => list.items.len(),
        Value::Dict(dict) | Value::View(dict, _) => dict.entries.len(),
        Value::Range(range) => usize::try_from(range.size()).unwrap_or(usize::MAX),
        Value::Undefined(_) => 0,
        Value::Loop(state) => state.size(interp)?,
        _ => return Ok(None),
    }))
}

/// `item in value`.
pub fn contains(interp: &Interp, value: &Value, item: &Value) -> Result<bool> {
    if let Some(text) = value.as_str() {
        let Some(part) = item.as_str() else {
            return fail(format!(
                "'in <string>' requires string as left operand, not {}",
                item.type_name()
            ));
        };
        interp.meter.text(text.len())?;
        return Ok(text.contains(part));
    }
    match value {
        Value::Dict(dict) | Value::View(dict, View::Keys) => {
            return Ok(dict.get(&interp.meter, item)?.is_some())
        }
        Value::Range(range) => {
            let place = item.as_int().map(|n| n - range.start);
            if let Some(place) = place {
                let (at, rest) = (place / range.step, place % range.step);
                return Ok(rest == 0 && at >= 0 && at < range.size());
            }
        }
        _ => {}
    }
    let Ok(mut items) = Items::of(value) else {
        return fail(format!("argument of type '{}' is not iterable", value.type_name()));
    };
    while let Some(other) = items.next(interp)? {
        if super::ops::is_same(&other, item) || super::ops::equal(&interp.meter, &other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}
