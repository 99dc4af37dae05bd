//! Values that hold state: namespaces, cyclers, joiners, generators, macros and loops.

use super::ast::MacroNode;
use super::error::{fail, Meter, Result};
use super::interp::Interp;
use super::iterate::Items;
use super::scope::Scope;
use super::value::Value;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Names that a template sets in one scope and reads in another. It may hold itself: the
/// interpreter empties them all at its end.
pub struct Namespace {
    pub names: RefCell<Vec<(Arc<str>, Value)>>,
}

impl Namespace {
    pub fn get(&self, name: &str) -> Option<Value> {
        self.names.borrow().iter().find(|(known, _)| &**known == name).map(|(_, v)| v.clone())
    }

    pub fn set(&self, name: &str, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| &**known == name) {
            Some(place) => place.1 = value,
            None => names.push((name.into(), value)),
        }
    }
}

pub struct Cycler {
    pub items: Vec<Value>,
    pub at: Cell<usize>,
    pub depth: u32,
}

pub struct Joiner {
    pub separator: Value,
    pub used: Cell<bool>,
}

pub type Next = dyn FnMut(&Interp) -> Result<Option<Value>>;

/// What Python's generators and iterators are: items that come once.
pub struct Stream {
    pub next: RefCell<Option<Box<Next>>>,
    pub depth: u32,
}

pub struct Macro {
    pub name: Option<Arc<str>>,
    pub node: Arc<MacroNode>,
    pub scope: Rc<Scope>,
    /// Whether it was made by `{% call %}` or `{% generation %}`.
    pub is_caller: bool,
}

/// The special variable `loop`.
pub struct LoopState {
    pub items: RefCell<Items>,
    pub length: Cell<Option<usize>>,
    /// The item looked ahead at; Some(None) at the end.
    pub after: RefCell<Option<Option<Value>>>,
    pub current: RefCell<Option<Value>>,
    pub before: RefCell<Option<Value>>,
    pub changed: RefCell<Option<Value>>,
    pub index0: Cell<usize>,
    pub started: Cell<bool>,
    pub depth0: usize,
    /// How deep its items nest.
    pub nested: u32,
    /// The statement and the scope around it, for loops marked recursive.
    pub recursion: Option<(Arc<super::ast::ForNode>, Rc<Scope>)>,
}

impl LoopState {
    /// The next item; an error while one is being made, as Python's generators have it.
    fn draw(&self, interp: &Interp) -> Result<Option<Value>> {
        match self.items.try_borrow_mut() {
            Ok(mut items) => items.next(interp),
            Err(_) => fail("generator already executing"),
        }
    }

    pub fn advance(&self, interp: &Interp) -> Result<Option<Value>> {
        let after = self.after.borrow_mut().take();
        let next = match after {
            Some(after) => after,
            None => self.draw(interp)?,
        };
        let Some(next) = next else { return Ok(None) };
        self.index0.set(self.index0.get() + usize::from(self.started.get()));
        self.started.set(true);
        let before = self.current.replace(Some(next.clone()));
        self.before.replace(before);
        Ok(Some(next))
    }

    pub fn peek(&self, interp: &Interp) -> Result<Option<Value>> {
        if self.after.borrow().is_none() {
            let next = self.draw(interp)?;
            self.after.replace(Some(next));
        }
        Ok(self.after.borrow().clone().flatten())
    }

    /// Items that have no size are drawn to be counted.
    pub fn size(&self, interp: &Interp) -> Result<usize> {
        if let Some(length) = self.length.get() {
            return Ok(length);
        }
        let mut rest = vec![];
        while let Some(item) = self.draw(interp)? {
            interp.meter.spend(1)?;
            rest.push(item);
        }
        let ahead = usize::from(matches!(*self.after.borrow(), Some(Some(_))));
        let length = rest.len() + self.index0.get() + 1 + ahead;
        self.items.replace(Items::of_vec(rest));
        self.length.set(Some(length));
        Ok(length)
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Function {
    Range,
    Dict,
    Lipsum,
    Cycler,
    Joiner,
    Namespace,
    RaiseException,
    StrftimeNow,
    /// `self` and the blocks found in it.
    Blocks,
    Block(Arc<str>),
}

impl Function {
    pub const GLOBALS: [(&'static str, Function); 8] = [
        ("range", Function::Range),
        ("dict", Function::Dict),
        ("lipsum", Function::Lipsum),
        ("cycler", Function::Cycler),
        ("joiner", Function::Joiner),
        ("namespace", Function::Namespace),
        ("raise_exception", Function::RaiseException),
        ("strftime_now", Function::StrftimeNow),
    ];
}

/// All that may hold itself, so that it is freed at the end.
#[derive(Default)]
pub struct Holders {
    pub namespaces: RefCell<Vec<Rc<Namespace>>>,
    pub scopes: RefCell<Vec<Rc<Scope>>>,
}

impl Holders {
    pub fn namespace(&self, meter: &Meter, names: Vec<(Arc<str>, Value)>) -> Result<Value> {
        meter.spend(names.len() as u64 + 1)?;
        let made = Rc::new(Namespace { names: RefCell::new(names) });
        self.namespaces.borrow_mut().push(made.clone());
        Ok(Value::Namespace(made))
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for namespace in self.namespaces.borrow().iter() {
            let names = std::mem::take(&mut *namespace.names.borrow_mut());
            drop(names);
        }
        for scope in self.scopes.borrow().iter() {
            scope.clear();
        }
    }
}
