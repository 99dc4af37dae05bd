//! Filters of sequences and dicts.

use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::iterate::{collect, size, Items};
use super::super::objects::Stream;
use super::super::ops::{binary, equal, hash, less, sort as sort_pairs, Operator};
use super::super::value::{Value, View};
use super::attribute::Path;
use super::Arguments;
use std::collections::HashMap;

pub fn length(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    match size(interp, value)? {
        Some(size) => Ok(Value::int(size)),
        None => fail(format!("object of type '{}' has no len()", value.type_name())),
    }
}

pub fn list(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    Value::list(collect(interp, value)?)
}

pub fn first(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    let first = Items::of(value)?.next(interp)?;
    Ok(first.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
}

/// reversed(value); None where Python has no such iterator.
fn reversed(interp: &Interp, value: &Value) -> Result<Option<Vec<Value>>> {
    if matches!(value, Value::Stream(_) | Value::Loop(_)) || Items::of(value).is_err() {
        return Ok(None);
    }
    let mut items = collect(interp, value)?;
    items.reverse();
    Ok(Some(items))
}

pub fn last(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    match reversed(interp, value)? {
        Some(items) => Ok(items
            .into_iter()
            .next()
            .unwrap_or_else(|| Value::undefined("No last item, sequence was empty."))),
        None => fail(format!("'{}' object is not reversible", value.type_name())),
    }
}

pub fn reverse(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    if let Some(text) = value.as_str() {
        interp.meter.text(text.len())?;
        return Ok(Value::text_like(value, text.chars().rev().collect::<String>()));
    }
    if let Some(items) = reversed(interp, value)? {
        return Stream::of_vec(items);
    }
    let mut items = collect(interp, value)?;
    items.reverse();
    Value::list(items)
}

pub fn random(interp: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    match (size(interp, value)?, value) {
        (Some(0), _) => Ok(Value::undefined("No random item, sequence was empty.")),
        (Some(1), Value::List(list) | Value::Tuple(list)) => Ok(list.items[0].clone()),
        _ => fail("random: a chat template must give the same text each time; use first or last"),
    }
}

pub fn items(_: &Interp, value: &Value, _: &Arguments) -> Result<Value> {
    match value {
        Value::Undefined(_) => Stream::of_vec(vec![]),
        Value::Dict(dict) => {
            let mut items = Items::Dict(dict.clone(), View::Items, 0);
            Stream::value(value.depth(), move |interp| items.next(interp))
        }
        // A generator: the error comes with its first item.
        _ => Stream::value(0, |_| fail("Can only get item pairs from a mapping.")),
    }
}

pub fn batch(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let count = arguments.int(0, 0)?;
    let mut rows: Vec<Vec<Value>> = vec![];
    let mut row = vec![];
    for item in collect(interp, value)? {
        if row.len() as i128 == count {
            rows.push(std::mem::take(&mut row));
        }
        row.push(item);
    }
    if !row.is_empty() {
        if let Some(fill) = arguments.some(1) {
            let missing = usize::try_from(count - row.len() as i128).unwrap_or(0);
            interp.meter.spend(missing as u64)?;
            row.extend(std::iter::repeat_n(fill.clone(), missing));
        }
        rows.push(row);
    }
    Stream::of_vec(rows.into_iter().map(Value::list).collect::<Result<_>>()?)
}

pub fn slice(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let items = collect(interp, value)?;
    let slices = arguments.int(0, 1)?;
    if slices == 0 {
        return fail("integer division or modulo by zero");
    }
    let slices = usize::try_from(slices).unwrap_or(0);
    interp.meter.spend(slices as u64)?;
    if slices == 0 {
        return Stream::of_vec(vec![]);
    }
    let (per_slice, extra) = (items.len() / slices, items.len() % slices);
    let mut offset = 0;
    let mut rows = vec![];
    for i in 0..slices {
        let start = offset + i * per_slice;
        offset += usize::from(i < extra);
        let end = offset + (i + 1) * per_slice;
        let mut row = items[start..end].to_vec();
        if let (Some(fill), true) = (arguments.some(1), i >= extra) {
            row.push(fill.clone());
        }
        rows.push(Value::list(row)?);
    }
    Stream::of_vec(rows)
}

/// What texts are compared by, unless case counts.
fn folded(interp: &Interp, value: Value, case_sensitive: bool) -> Result<Value> {
    match value.as_str() {
        Some(text) if !case_sensitive => {
            interp.meter.text(text.len())?;
            Ok(Value::text(text.to_lowercase()))
        }
        _ => Ok(value),
    }
}

fn sorted(interp: &Interp, mut pairs: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>> {
    sort_pairs(&interp.meter, &mut pairs, reverse)?;
    Ok(pairs.into_iter().map(|(_, item)| item).collect())
}

pub fn sort(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let paths: Vec<Path> = match arguments.get(2).and_then(Value::as_str) {
        Some(names) => names
            .split(',')
            .map(|name| Path::new(Some(&Value::text(name)), None))
            .collect::<Result<_>>()?,
        None => vec![Path::new(arguments.get(2), None)?],
    };
    let keyed = |item: Value| {
        let keys = paths
            .iter()
            .map(|path| folded(interp, path.get(interp, &item)?, arguments.flag(1)))
            .collect::<Result<_>>()?;
        Ok((Value::list(keys)?, item))
    };
    let pairs = collect(interp, value)?.into_iter().map(keyed).collect::<Result<_>>()?;
    Value::list(sorted(interp, pairs, arguments.int(0, 0)? != 0)?)
}

pub fn dictsort(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let place = match arguments.get(1).map(|by| by.as_str()) {
        None | Some(Some("key")) => 0,
        Some(Some("value")) => 1,
        _ => return fail("You can only sort by either \"key\" or \"value\""),
    };
    let Value::Dict(dict) = value else {
        return match value {
            Value::Undefined(why) => fail(&**why),
            _ => fail(format!("'{}' object has no attribute 'items'", value.type_name())),
        };
    };
    let keyed = |(key, value): &(Value, Value)| {
        let by = if place == 0 { key } else { value };
        let pair = Value::tuple(vec![key.clone(), value.clone()])?;
        Ok((folded(interp, by.clone(), arguments.flag(0))?, pair))
    };
    let pairs = dict.entries.iter().map(keyed).collect::<Result<_>>()?;
    Value::list(sorted(interp, pairs, arguments.int(2, 0)? != 0)?)
}

pub fn unique(_: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let path = Path::new(arguments.get(1), None)?;
    let case_sensitive = arguments.flag(0);
    let (source, mut items) = (value.clone(), None);
    let mut seen: HashMap<u64, Vec<Value>> = HashMap::new();
    Stream::value(value.depth(), move |interp| {
        if items.is_none() {
            items = Some(Items::of(&source)?);
        }
        let Some(items) = &mut items else { return Ok(None) };
        while let Some(item) = items.next(interp)? {
            let key = folded(interp, path.get(interp, &item)?, case_sensitive)?;
            let known = seen.entry(hash(&interp.meter, &key)?).or_default();
            let mut is_new = true;
            for other in known.iter() {
                is_new &= !equal(&interp.meter, other, &key)?;
            }
            if is_new {
                known.push(key);
                return Ok(Some(item));
            }
        }
        Ok(None)
    })
}

fn extreme(
    interp: &Interp,
    value: &Value,
    arguments: &Arguments,
    better: fn(&Interp, &Value, &Value) -> Result<bool>,
) -> Result<Value> {
    let path = Path::new(arguments.get(1), None)?;
    let mut best: Option<(Value, Value)> = None;
    for item in collect(interp, value)? {
        let key = folded(interp, path.get(interp, &item)?, arguments.flag(0))?;
        let takes = match &best {
            Some((top, _)) => better(interp, &key, top)?,
            None => true,
        };
        if takes {
            best = Some((key, item));
        }
    }
    Ok(match best {
        Some((_, item)) => item,
        None => Value::undefined("No aggregated item, sequence was empty."),
    })
}

pub fn min(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    extreme(interp, value, arguments, |interp, key, top| less(&interp.meter, key, top))
}

pub fn max(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    extreme(interp, value, arguments, |interp, key, top| less(&interp.meter, top, key))
}

pub fn sum(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let path = Path::new(arguments.get(0), None)?;
    let mut total = arguments.get(1).cloned().unwrap_or(Value::Int(0));
    if total.as_str().is_some() {
        return fail("sum() can't sum strings [use ''.join(seq) instead]");
    }
    let mut items = Items::of(value)?;
    while let Some(item) = items.next(interp)? {
        total = binary(interp, Operator::Add, &total, &path.get(interp, &item)?)?;
    }
    Ok(total)
}

pub fn groupby(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let path = Path::new(arguments.get(0), arguments.get(1))?;
    let case_sensitive = arguments.flag(2);
    let keyed = |item: Value| Ok((folded(interp, path.get(interp, &item)?, case_sensitive)?, item));
    let mut pairs: Vec<(Value, Value)> =
        collect(interp, value)?.into_iter().map(keyed).collect::<Result<_>>()?;
    sort_pairs(&interp.meter, &mut pairs, false)?;
    let mut groups: Vec<(Value, Vec<Value>)> = vec![];
    for (key, item) in pairs {
        let same = match groups.last() {
            Some((last, _)) => equal(&interp.meter, last, &key)?,
            None => false,
        };
        match groups.last_mut() {
            Some((_, members)) if same => members.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let group = |(key, members): (Value, Vec<Value>)| {
        let shown = if case_sensitive { key } else { path.get(interp, &members[0])? };
        Value::group(shown, Value::list(members)?)
    };
    Value::list(groups.into_iter().map(group).collect::<Result<_>>()?)
}
