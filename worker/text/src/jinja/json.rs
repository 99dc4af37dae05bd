//! JSON texts as a template's values; objects keep the order of their keys.

use super::dict::Dict;
use super::error::{Error, Meter};
use super::value::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

struct Parsed(Value);

struct Reader;

fn refused<E: serde::de::Error>(error: Error) -> E {
    E::custom(error.message)
}

impl<'de> Visitor<'de> for Reader {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed(Value::None))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Parsed, E> {
        Ok(Parsed(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Parsed, E> {
        Ok(Parsed(Value::Int(i128::from(int))))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Parsed, E> {
        Ok(Parsed(Value::Int(i128::from(int))))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Parsed, E> {
        Ok(Parsed(Value::Float(float)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed(Value::text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut found = vec![];
        while let Some(Parsed(item)) = items.next_element()? {
            found.push(item);
        }
        Value::list(found).map(Parsed).map_err(refused)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut found = vec![];
        while let Some((key, Parsed(value))) = entries.next_entry::<String, Parsed>()? {
            found.push((Value::text(key), value));
        }
        Dict::value(&Meter::new(u64::MAX), found).map(Parsed).map_err(refused)
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// The value a JSON text says; the error says where it is none.
pub fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str::<Parsed>(text).map(|parsed| parsed.0).map_err(|error| error.to_string())
}
