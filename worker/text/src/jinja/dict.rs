//! Python's dict: keys in the order they came, found by their hash.

use super::error::{fail, Error, Kind, Meter, Result};
use super::ops::{equal, hash};
use super::value::{nested, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// Fewer entries than this are looked through.
const SMALL: usize = 9;

pub struct Dict {
    pub entries: Vec<(Value, Value)>,
    /// Places by hash, once there are many.
    places: HashMap<u64, Vec<usize>>,
    pub depth: u32,
}

impl Dict {
    /// Later values of a key replace earlier ones, at their place.
    pub fn new(meter: &Meter, pairs: Vec<(Value, Value)>) -> Result<Dict> {
        let mut dict = Dict { entries: Vec::new(), places: HashMap::new(), depth: 1 };
        for (key, value) in pairs {
            dict.insert(meter, key, value)?;
        }
        Ok(dict)
    }

    pub fn value(meter: &Meter, pairs: Vec<(Value, Value)>) -> Result<Value> {
        Ok(Value::Dict(Rc::new(Dict::new(meter, pairs)?)))
    }

    fn insert(&mut self, meter: &Meter, key: Value, value: Value) -> Result<()> {
        meter.spend(1)?;
        self.depth = nested(self.depth.max(key.depth().max(value.depth()) + 1))?;
        let hashed = hash(meter, &key)?;
        if let Some(place) = self.place(meter, &key, hashed)? {
            self.entries[place].1 = value;
            return Ok(());
        }
        self.entries.push((key, value));
        if self.entries.len() == SMALL {
            for (place, (key, _)) in self.entries.iter().enumerate() {
                self.places.entry(hash(meter, key)?).or_default().push(place);
            }
        } else if self.entries.len() > SMALL {
            self.places.entry(hashed).or_default().push(self.entries.len() - 1);
        }
        Ok(())
    }

    fn place(&self, meter: &Meter, key: &Value, hashed: u64) -> Result<Option<usize>> {
        if self.entries.len() < SMALL {
            for (place, (other, _)) in self.entries.iter().enumerate() {
                if equal(meter, other, key)? {
                    return Ok(Some(place));
                }
            }
            return Ok(None);
        }
        for &place in self.places.get(&hashed).map_or(&[][..], Vec::as_slice) {
            if equal(meter, &self.entries[place].0, key)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// An error for keys that cannot be hashed.
    pub fn get(&self, meter: &Meter, key: &Value) -> Result<Option<&Value>> {
        let place = self.place(meter, key, hash(meter, key)?)?;
        Ok(place.map(|place| &self.entries[place].1))
    }

    pub fn get_text(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }
}

/// What `Dict::get` answers where Python would raise TypeError: not there.
pub fn found(answer: Result<Option<&Value>>) -> Result<Option<Value>> {
    match answer {
        Ok(value) => Ok(value.cloned()),
        Err(Error { kind: Kind::Runtime, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn unhashable<T>(value: &Value) -> Result<T> {
    fail(format!("unhashable type: '{}'", value.type_name()))
}
