//! Jinja's `namespace`: names that a template sets in one scope and reads in another. It cannot be
//! walked, so that one that holds itself does no harm, and it forgets its names when the rendering
//! ends, so that such a one is freed.

use minijinja::value::{from_args, Kwargs, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// The method that `{% set ns.name = value %}` becomes (ast_copy.rs).
pub const SET: &str = "__trainyard_set";

#[derive(Debug, Default)]
struct Names {
    values: Mutex<BTreeMap<String, Value>>,
}

impl Names {
    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.values.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Object for Names {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.values().get(key.as_str()?).cloned()
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        if method != SET {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let (name, value): (String, Value) = from_args(args)?;
        let before = self.values().insert(name, value);
        drop(before);
        Ok(Value::from(()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Namespace>")
    }
}

/// All namespaces of one rendering.
#[derive(Default)]
struct Made(Vec<Arc<Names>>);

impl Drop for Made {
    fn drop(&mut self) {
        for names in &self.0 {
            let values = std::mem::take(&mut *names.values());
            drop(values);
        }
    }
}

/// The function `namespace`.
pub fn make(state: &mut State, defaults: Option<Value>, keywords: Kwargs) -> Result<Value, Error> {
    let names = Arc::new(Names::default());
    if let Some(defaults) = defaults {
        for key in defaults.try_iter()? {
            names.values().insert(key.to_string(), defaults.get_item(&key)?);
        }
    }
    for name in keywords.args() {
        names.values().insert(name.to_string(), keywords.peek::<Value>(name)?);
    }
    state.get_or_insert_extension(Made::default()).0.push(names.clone());
    Ok(Value::from_dyn_object(names))
}
