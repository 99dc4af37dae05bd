//! Python's values as a chat template meets them. They cannot be changed, save for namespaces and
//! the objects that count: Jinja's sandbox forbids what would change a list or a dict.

use super::dict::Dict;
use super::error::{limit, Result};
use super::objects::{Cycler, Function, Joiner, LoopState, Macro, Namespace, Stream};
use std::rc::Rc;
use std::sync::Arc;

/// JSON may bring 128 levels.
pub const DEPTH_MAX: u32 = 200;

#[derive(Clone)]
pub enum Value {
    /// Why it is not there.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    /// markupsafe.Markup: text that is HTML already.
    Markup(Arc<str>),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    View(Rc<Dict>, View),
    Range(Rc<Range>),
    Stream(Rc<Stream>),
    Namespace(Rc<Namespace>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    Macro(Rc<Macro>),
    Loop(Rc<LoopState>),
    /// A method bound to its value.
    Method(Rc<(Value, &'static str)>),
    Function(Function),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Keys,
    Values,
    Items,
}

pub struct List {
    pub items: Vec<Value>,
    pub depth: u32,
    /// A group of `groupby`: its two parts have names.
    pub is_group: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

impl Range {
    pub fn size(&self) -> i128 {
        let (low, high, step) = match self.step > 0 {
            true => (self.start, self.stop, self.step),
            false => (self.stop, self.start, -self.step),
        };
        match low < high {
            true => (high - low - 1) / step + 1,
            false => 0,
        }
    }

    pub fn at(&self, index: i128) -> Value {
        Value::Int(self.start + index * self.step)
    }
}

fn depth_above(items: &[Value]) -> Result<u32> {
    let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
    nested(depth)
}

/// `depth`, if values may nest so deep.
pub fn nested(depth: u32) -> Result<u32> {
    if depth > DEPTH_MAX {
        return limit(format!("the template makes a value nested more than {DEPTH_MAX} deep"));
    }
    Ok(depth)
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Str(text.as_ref().into())
    }

    pub fn markup(text: impl AsRef<str>) -> Value {
        Value::Markup(text.as_ref().into())
    }

    /// A text of the kind of `like`: Markup's methods give Markup.
    pub fn text_like(like: &Value, text: impl AsRef<str>) -> Value {
        match like {
            Value::Markup(_) => Value::markup(text),
            _ => Value::text(text),
        }
    }

    pub fn int(number: usize) -> Value {
        Value::Int(number as i128)
    }

    pub fn undefined(why: impl AsRef<str>) -> Value {
        Value::Undefined(why.as_ref().into())
    }

    pub fn list(items: Vec<Value>) -> Result<Value> {
        let depth = depth_above(&items)?;
        Ok(Value::List(Rc::new(List { items, depth, is_group: false })))
    }

    pub fn tuple(items: Vec<Value>) -> Result<Value> {
        let depth = depth_above(&items)?;
        Ok(Value::Tuple(Rc::new(List { items, depth, is_group: false })))
    }

    pub fn group(key: Value, members: Value) -> Result<Value> {
        let items = vec![key, members];
        let depth = depth_above(&items)?;
        Ok(Value::Tuple(Rc::new(List { items, depth, is_group: true })))
    }

    pub fn depth(&self) -> u32 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) | Value::View(dict, _) => dict.depth,
            Value::Stream(stream) => stream.depth,
            Value::Method(method) => method.0.depth() + 1,
            Value::Cycler(cycler) => cycler.depth,
            Value::Loop(state) => state.nested,
            _ => 0,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) | Value::Markup(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_markup(&self) -> bool {
        matches!(self, Value::Markup(_))
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// The integer in an int or a bool.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Bool(flag) => Some(i128::from(*flag)),
            _ => None,
        }
    }

    /// bool(self).
    pub fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Str(text) | Value::Markup(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => !list.items.is_empty(),
            Value::Dict(dict) | Value::View(dict, _) => !dict.entries.is_empty(),
            Value::Range(range) => range.size() > 0,
            _ => true,
        }
    }

    /// type(self).__name__.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Markup(_) => "Markup",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(_, View::Keys) => "dict_keys",
            Value::View(_, View::Values) => "dict_values",
            Value::View(_, View::Items) => "dict_items",
            Value::Range(_) => "range",
            Value::Stream(_) => "generator",
            Value::Namespace(_) => "Namespace",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
            Value::Macro(_) => "Macro",
            Value::Loop(_) => "LoopContext",
            Value::Method(_) => "method",
            Value::Function(_) => "function",
        }
    }
}
