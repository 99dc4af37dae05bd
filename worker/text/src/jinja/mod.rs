//! Jinja 3.1.6 with the values of Python, as transformers runs chat templates: sandboxed, nothing
//! can be changed or reached, and every step, text and nesting is counted (error.rs).
//!
//! lexer -> parser -> symbols (which scope a name lives in) -> interp (statements), eval
//! (expressions). Values are in value.rs, what Python does with them in the other files.

mod ast;
mod attributes;
mod brace_format;
mod call;
mod checks;
mod cursor;
mod dict;
mod error;
mod eval;
mod expressions;
mod filters;
mod format_spec;
mod globals;
mod html;
mod interp;
mod iterate;
mod json;
mod lexer;
mod literals;
mod methods;
mod numbers;
mod objects;
mod ops;
mod parser;
mod percent;
mod repr;
mod scope;
mod str_methods;
mod symbols;
mod text;
mod uses;
mod value;

pub use ast::Template;
pub use error::{Error, Kind, Result};
pub use interp::{Bounds, Interp};
pub use json::parse as parse_json;
pub use value::Value;

/// The tree of a template, ready to be rendered.
pub fn compile(source: &str) -> Result<Template> {
    let mut template = parser::parse(source)?;
    symbols::resolve(&mut template)?;
    Ok(template)
}

/// A dict of those pairs.
pub fn dict(pairs: Vec<(Value, Value)>) -> Result<Value> {
    dict::Dict::value(&error::Meter::new(u64::MAX), pairs)
}
