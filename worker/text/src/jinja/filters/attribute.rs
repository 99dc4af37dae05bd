//! Filters that look up attributes, or apply filters and tests to each item.

use super::super::attributes;
use super::super::call::Given;
use super::super::checks;
use super::super::error::{fail, Result};
use super::super::interp::Interp;
use super::super::iterate::Items;
use super::super::objects::Stream;
use super::super::value::Value;
use super::{apply, Arguments};

pub fn attr(interp: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    match arguments.text(0)? {
        Some(name) => attributes::only_attribute(interp, value, name),
        None => fail("attr: attribute name must be string, not 'NoneType'"),
    }
}

pub fn default(_: &Interp, value: &Value, arguments: &Arguments) -> Result<Value> {
    let missing = value.is_undefined() || arguments.flag(1) && !value.is_true();
    Ok(match missing {
        true => arguments.get(0).cloned().unwrap_or_else(|| Value::text("")),
        false => value.clone(),
    })
}

/// A path such as "address.0.city".
#[derive(Clone)]
pub struct Path {
    parts: Vec<Value>,
    default: Option<Value>,
}

impl Path {
    /// None: the item itself.
    pub fn new(attribute: Option<&Value>, default: Option<&Value>) -> Result<Path> {
        let parts = match attribute {
            None | Some(Value::None) => vec![],
            Some(value) => match value.as_str() {
                Some(path) => path.split('.').map(part).collect(),
                None => vec![value.clone()],
            },
        };
        Ok(Path { parts, default: default.filter(|v| !matches!(v, Value::None)).cloned() })
    }

    pub fn get(&self, interp: &Interp, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &self.parts {
            value = attributes::item(interp, &value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

fn part(text: &str) -> Value {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(int) if is_number => Value::Int(int),
        _ => Value::text(text),
    }
}

/// A generator that gives what `each` makes of an item; without items where the value is false.
fn generator(
    value: &Value,
    held: u32,
    mut each: impl FnMut(&Interp, Value) -> Result<Option<Value>> + 'static,
) -> Result<Value> {
    let value = value.clone();
    let mut items = None;
    Stream::value(value.depth().max(held), move |interp| {
        if items.is_none() {
            items = Some(if value.is_true() { Items::of(&value)? } else { Items::Empty });
        }
        let Some(items) = &mut items else { return Ok(None) };
        while let Some(item) = items.next(interp)? {
            if let Some(made) = each(interp, item)? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    })
}

/// How deep what a generator keeps of its arguments nests.
fn depth_of(given: &Given) -> u32 {
    let named = given.named.iter().map(|(_, value)| value);
    given.positional.iter().chain(named).map(Value::depth).max().unwrap_or(0)
}

pub fn map(_: &Interp, value: &Value, mut given: Given) -> Result<Value> {
    let held = depth_of(&given);
    if !given.positional.is_empty() {
        let name = given.positional.remove(0);
        return generator(value, held, move |interp, item| {
            let Some(name) = name.as_str() else { return fail("map: a filter's name is a text") };
            let again = Given { positional: given.positional.clone(), named: given.named.clone() };
            apply(interp, name, &item, again).map(Some)
        });
    }
    let attribute = given.take_named("attribute");
    let default = given.take_named("default");
    let path = Path::new(attribute.as_ref(), default.as_ref())?;
    let wrong = match (attribute, given.named.first()) {
        (None, _) => Some("map requires a filter argument".to_string()),
        (_, Some((name, _))) => Some(format!("Unexpected keyword argument '{name}'")),
        _ => None,
    };
    generator(value, held, move |interp, item| match &wrong {
        Some(wrong) => fail(wrong),
        None => path.get(interp, &item).map(Some),
    })
}

fn chosen(value: &Value, mut given: Given, by_attribute: bool, keeps: bool) -> Result<Value> {
    let held = depth_of(&given);
    let path = match (by_attribute, given.positional.is_empty()) {
        (false, _) => Some(Path::new(None, None)?),
        (true, true) => None,
        (true, false) => Some(Path::new(Some(&given.positional.remove(0)), None)?),
    };
    let test = match given.positional.is_empty() {
        true => None,
        false => Some(given.positional.remove(0)),
    };
    generator(value, held, move |interp, item| {
        let Some(path) = &path else { return fail("Missing parameter for attribute name") };
        let subject = path.get(interp, &item)?;
        let holds = match &test {
            None => subject.is_true(),
            Some(name) => {
                let Some(name) = name.as_str() else { return fail("a test's name is a text") };
                let again =
                    Given { positional: given.positional.clone(), named: given.named.clone() };
                checks::check(interp, name, &subject, again)?
            }
        };
        Ok((holds == keeps).then_some(item))
    })
}

pub fn select(_: &Interp, value: &Value, given: Given) -> Result<Value> {
    chosen(value, given, false, true)
}

pub fn reject(_: &Interp, value: &Value, given: Given) -> Result<Value> {
    chosen(value, given, false, false)
}

pub fn selectattr(_: &Interp, value: &Value, given: Given) -> Result<Value> {
    chosen(value, given, true, true)
}

pub fn rejectattr(_: &Interp, value: &Value, given: Given) -> Result<Value> {
    chosen(value, given, true, false)
}
