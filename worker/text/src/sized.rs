//! The bound on how many parts a value may have (see ast_copy.rs).

use crate::ast_copy::SIZED;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

/// Parts of a value, each place that holds one counted: an element, or 64 bytes of text.
const PARTS_MAX: u64 = 200_000;
const DEPTH_MAX: usize = 200; // JSON may bring 128
/// Parts that cost one step.
const PARTS_OF_STEP: u64 = 8;

/// Words of the error, by which its kind is known.
pub const TOO_LARGE: &str = "the template makes a value of too many parts";

pub fn add_filter(environment: &mut Environment) {
    environment.add_filter(SIZED, |state: &State, value: &Value| -> Result<Value, Error> {
        if is_container(value) {
            let mut parts = 0;
            count(value, 0, &mut parts)?;
            state.consume_fuel(parts / PARTS_OF_STEP)?;
        }
        Ok(value.clone())
    });
}

fn is_container(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

fn count(value: &Value, depth: usize, parts: &mut u64) -> Result<(), Error> {
    *parts += 1;
    if *parts > PARTS_MAX || depth > DEPTH_MAX {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{TOO_LARGE} (more than {PARTS_MAX}, or nested more than {DEPTH_MAX} deep)"),
        ));
    }
    if let Some(text) = value.as_str() {
        *parts += text.len() as u64 / 64;
    }
    if !is_container(value) {
        return Ok(());
    }
    let is_map = value.kind() == ValueKind::Map;
    for item in value.try_iter()? {
        if is_map {
            count(&value.get_item(&item)?, depth + 1, parts)?;
        }
        count(&item, depth + 1, parts)?;
    }
    Ok(())
}
