//! The functions every template has: Jinja's own and those of transformers.

use super::call::Given;
use super::dict::Dict;
use super::error::{fail, Result};
use super::interp::Interp;
use super::iterate::collect;
use super::objects::{Cycler, Function, Joiner};
use super::repr::text_of;
use super::value::{nested, Range, Value};
use std::cell::Cell;
use std::rc::Rc;

/// As the sandbox has it.
const RANGE_MAX: i128 = 100_000;

pub fn find(name: &str) -> Option<Value> {
    if name == "self" {
        return Some(Value::Function(Function::Blocks));
    }
    let known = Function::GLOBALS.into_iter().find(|(known, _)| *known == name)?;
    Some(Value::Function(known.1))
}

pub fn call(interp: &Interp, function: &Function, given: Given) -> Result<Value> {
    match function {
        Function::Range => range(given),
        Function::Dict => Dict::value(&interp.meter, pairs(interp, given)?),
        Function::Namespace => namespace(interp, given),
        Function::Cycler => {
            if given.positional.is_empty() {
                return fail("cycler: at least one item has to be provided");
            }
            let depth = given.positional.iter().map(Value::depth).max().unwrap_or(0);
            let (items, depth) = (given.bind_all("cycler")?, nested(depth + 1)?);
            Ok(Value::Cycler(Rc::new(Cycler { items, at: Cell::new(0), depth })))
        }
        Function::Joiner => {
            let mut bound = given.bind("joiner", &["sep"], 0)?;
            let separator = bound.remove(0).unwrap_or_else(|| Value::text(", "));
            Ok(Value::Joiner(Rc::new(Joiner { separator, used: Cell::new(false) })))
        }
        Function::RaiseException => {
            let bound = given.bind("raise_exception", &["message"], 1)?;
            fail(text_of(interp, bound[0].as_ref().unwrap_or(&Value::None))?)
        }
        Function::StrftimeNow => {
            let bound = given.bind("strftime_now", &["format"], 1)?;
            let Some(format) = bound[0].as_ref().and_then(Value::as_str) else {
                return fail("strftime_now: the format must be a text");
            };
            let Some(now) = interp.now else {
                return fail("strftime_now: the template asks for the time, and none was given");
            };
            now.format(format).map(Value::text).or_else(fail)
        }
        Function::Lipsum => {
            fail("lipsum: a chat template must give the same text each time; write the text out")
        }
        Function::Blocks => fail("'self' is not callable"),
        Function::Block(name) => {
            given.bind("a block", &[], 0)?;
            let template = interp.template.clone();
            match template.blocks.iter().find(|block| block.name == *name) {
                Some(block) => Ok(Value::text(interp.block_rendered(block, None)?)),
                None => fail(format!("there is no block '{name}'")),
            }
        }
    }
}

impl Given {
    /// All positional arguments, where no others are taken.
    pub fn bind_all(self, what: &str) -> Result<Vec<Value>> {
        match self.named.first() {
            Some((name, _)) => fail(format!("{what} got an unexpected keyword argument '{name}'")),
            None => Ok(self.positional),
        }
    }
}

fn range(given: Given) -> Result<Value> {
    let bounds = given.bind_all("range")?;
    let mut ints = vec![];
    for bound in &bounds {
        match bound.as_int() {
            Some(int) if int.unsigned_abs() < 1 << 60 => ints.push(int),
            Some(_) => return fail("range: the bounds are too large"),
            None => {
                return fail(format!(
                    "'{}' object cannot be interpreted as an integer",
                    bound.type_name()
                ))
            }
        }
    }
    let range = match ints[..] {
        [stop] => Range { start: 0, stop, step: 1 },
        [start, stop] => Range { start, stop, step: 1 },
        [start, stop, step] if step != 0 => Range { start, stop, step },
        [_, _, _] => return fail("range() arg 3 must not be zero"),
        _ => return fail("range takes 1 to 3 arguments"),
    };
    if range.size() > RANGE_MAX {
        return fail(format!("Range too big. The sandbox blocks ranges larger than {RANGE_MAX}."));
    }
    Ok(Value::Range(Rc::new(range)))
}

/// The pairs of dict(...).
fn pairs(interp: &Interp, given: Given) -> Result<Vec<(Value, Value)>> {
    let mut pairs = vec![];
    if given.positional.len() > 1 {
        return fail("dict expected at most 1 argument");
    }
    match given.positional.first() {
        None => {}
        Some(Value::Dict(dict)) => pairs.extend(dict.entries.iter().cloned()),
        Some(other) => {
            for item in collect(interp, other)? {
                match &collect(interp, &item)?[..] {
                    [key, value] => pairs.push((key.clone(), value.clone())),
                    _ => return fail("dict: an element of the sequence is no pair"),
                }
            }
        }
    }
    pairs.extend(given.named.into_iter().map(|(name, value)| (Value::Str(name), value)));
    Ok(pairs)
}

/// transformers refuses names of a namespace that begin with an underscore.
pub fn check_name(name: &str) -> Result<()> {
    match name.starts_with('_') {
        true => fail(format!(
            "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'"
        )),
        false => Ok(()),
    }
}

fn namespace(interp: &Interp, given: Given) -> Result<Value> {
    let Value::Dict(dict) = Dict::value(&interp.meter, pairs(interp, given)?)? else {
        return fail("namespace: no dict");
    };
    let mut names = vec![];
    for (key, value) in &dict.entries {
        let Some(name) = key.as_str() else { return fail("namespace: a name is no text") };
        check_name(name)?;
        names.push((name.into(), value.clone()));
    }
    interp.holders.namespace(&interp.meter, names)
}
