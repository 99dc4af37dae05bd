//! The names of a scope while it runs.

use super::ast::Load;
use super::value::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

pub struct Scope {
    /// A name without a value is missing.
    names: RefCell<Vec<(Arc<str>, Option<Value>)>>,
    around: Option<Rc<Scope>>,
}

impl Scope {
    /// Enters a scope: `resolve` looks up what comes from outside of the template.
    pub fn enter(
        loads: &[(Arc<str>, Load)],
        around: Option<&Rc<Scope>>,
        resolve: impl Fn(&str) -> Option<Value>,
    ) -> Rc<Scope> {
        let names = loads.iter().map(|(name, load)| {
            let value = match load {
                Load::Parameter | Load::Missing => None,
                Load::Resolve => resolve(name),
                Load::Alias => around.and_then(|around| around.get(name)),
            };
            (name.clone(), value)
        });
        Rc::new(Scope { names: RefCell::new(names.collect()), around: around.cloned() })
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        match self.names.borrow().iter().find(|(known, _)| &**known == name) {
            Some((_, value)) => value.clone(),
            None => self.around.as_ref().and_then(|around| around.get(name)),
        }
    }

    /// The value of a name of this scope.
    pub fn get_own(&self, name: &str) -> Option<Value> {
        let names = self.names.borrow();
        names.iter().find(|(known, _)| &**known == name).and_then(|(_, value)| value.clone())
    }

    /// Sets a name of this scope.
    pub fn set(&self, name: &str, value: Option<Value>) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| &**known == name) {
            Some(place) => place.1 = value,
            None => names.push((name.into(), value)),
        }
    }

    pub fn clear(&self) {
        let names = std::mem::take(&mut *self.names.borrow_mut());
        drop(names);
    }
}
