//! The filters of Jinja 3.1.6, and transformers' `tojson`.

mod attribute;
mod html;
mod number;
mod pprint;
mod sequence;
mod text;
mod tojson;
mod urlize;
mod wrap;

use super::call::Given;
use super::error::{fail, Result};
use super::interp::Interp;
use super::value::Value;

/// A filter's arguments behind its value: one place per parameter.
pub struct Arguments<'a> {
    pub name: &'a str,
    values: Vec<Option<Value>>,
}

impl Arguments<'_> {
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index).and_then(Option::as_ref)
    }

    /// The value, None also for none.
    pub fn some(&self, index: usize) -> Option<&Value> {
        self.get(index).filter(|value| !matches!(value, Value::None))
    }

    pub fn flag(&self, index: usize) -> bool {
        self.get(index).is_some_and(Value::is_true)
    }

    pub fn int(&self, index: usize, default: i128) -> Result<i128> {
        match self.get(index) {
            None => Ok(default),
            Some(value) => match value.as_int() {
                Some(int) => Ok(int),
                None => fail(format!(
                    "{}: '{}' object cannot be interpreted as an integer",
                    self.name,
                    value.type_name()
                )),
            },
        }
    }

    pub fn text(&self, index: usize) -> Result<Option<&str>> {
        match self.some(index).map(|value| (value.as_str(), value)) {
            None => Ok(None),
            Some((Some(text), _)) => Ok(Some(text)),
            Some((None, value)) => {
                fail(format!("{}: a str is expected, not {}", self.name, value.type_name()))
            }
        }
    }
}

type Bound = fn(&Interp, &Value, &Arguments) -> Result<Value>;
type Open = fn(&Interp, &Value, Given) -> Result<Value>;

enum Call {
    /// Parameters, how many must be given, and the function.
    Bound(&'static [&'static str], usize, Bound),
    /// Takes any arguments.
    Open(Open),
}

const FILTERS: [(&str, Call); 54] = [
    ("abs", Call::Bound(&[], 0, number::abs)),
    ("attr", Call::Bound(&["name"], 1, attribute::attr)),
    ("batch", Call::Bound(&["linecount", "fill_with"], 1, sequence::batch)),
    ("capitalize", Call::Bound(&[], 0, text::capitalize)),
    ("center", Call::Bound(&["width"], 0, text::center)),
    ("count", Call::Bound(&[], 0, sequence::length)),
    ("d", Call::Bound(&["default_value", "boolean"], 0, attribute::default)),
    ("default", Call::Bound(&["default_value", "boolean"], 0, attribute::default)),
    ("dictsort", Call::Bound(&["case_sensitive", "by", "reverse"], 0, sequence::dictsort)),
    ("e", Call::Bound(&[], 0, html::escape)),
    ("escape", Call::Bound(&[], 0, html::escape)),
    ("filesizeformat", Call::Bound(&["binary"], 0, number::filesizeformat)),
    ("first", Call::Bound(&[], 0, sequence::first)),
    ("float", Call::Bound(&["default"], 0, number::float)),
    ("forceescape", Call::Bound(&[], 0, html::forceescape)),
    ("format", Call::Open(text::format)),
    ("groupby", Call::Bound(&["attribute", "default", "case_sensitive"], 1, sequence::groupby)),
    ("indent", Call::Bound(&["width", "first", "blank"], 0, text::indent)),
    ("int", Call::Bound(&["default", "base"], 0, number::int)),
    ("items", Call::Bound(&[], 0, sequence::items)),
    ("join", Call::Bound(&["d", "attribute"], 0, text::join)),
    ("last", Call::Bound(&[], 0, sequence::last)),
    ("length", Call::Bound(&[], 0, sequence::length)),
    ("list", Call::Bound(&[], 0, sequence::list)),
    ("lower", Call::Bound(&[], 0, text::lower)),
    ("map", Call::Open(attribute::map)),
    ("max", Call::Bound(&["case_sensitive", "attribute"], 0, sequence::max)),
    ("min", Call::Bound(&["case_sensitive", "attribute"], 0, sequence::min)),
    ("pprint", Call::Bound(&[], 0, pprint::pprint)),
    ("random", Call::Bound(&[], 0, sequence::random)),
    ("reject", Call::Open(attribute::reject)),
    ("rejectattr", Call::Open(attribute::rejectattr)),
    ("replace", Call::Bound(&["old", "new", "count"], 2, text::replace)),
    ("reverse", Call::Bound(&[], 0, sequence::reverse)),
    ("round", Call::Bound(&["precision", "method"], 0, number::round)),
    ("safe", Call::Bound(&[], 0, html::safe)),
    ("select", Call::Open(attribute::select)),
    ("selectattr", Call::Open(attribute::selectattr)),
    ("slice", Call::Bound(&["slices", "fill_with"], 1, sequence::slice)),
    ("sort", Call::Bound(&["reverse", "case_sensitive", "attribute"], 0, sequence::sort)),
    ("string", Call::Bound(&[], 0, text::string)),
    ("striptags", Call::Bound(&[], 0, html::striptags)),
    ("sum", Call::Bound(&["attribute", "start"], 0, sequence::sum)),
    ("title", Call::Bound(&[], 0, text::title)),
    (
        "tojson",
        Call::Bound(&["ensure_ascii", "indent", "separators", "sort_keys"], 0, tojson::tojson),
    ),
    ("trim", Call::Bound(&["chars"], 0, text::trim)),
    ("truncate", Call::Bound(&["length", "killwords", "end", "leeway"], 0, text::truncate)),
    ("unique", Call::Bound(&["case_sensitive", "attribute"], 0, sequence::unique)),
    ("upper", Call::Bound(&[], 0, text::upper)),
    ("urlencode", Call::Bound(&[], 0, html::urlencode)),
    (
        "urlize",
        Call::Bound(
            &["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"],
            0,
            urlize::urlize,
        ),
    ),
    ("wordcount", Call::Bound(&[], 0, text::wordcount)),
    (
        "wordwrap",
        Call::Bound(
            &["width", "break_long_words", "wrapstring", "break_on_hyphens"],
            0,
            wrap::wordwrap,
        ),
    ),
    ("xmlattr", Call::Bound(&["autospace"], 0, html::xmlattr)),
];

pub fn exists(name: &str) -> bool {
    FILTERS.iter().any(|(known, _)| *known == name)
}

pub fn apply(interp: &Interp, name: &str, value: &Value, given: Given) -> Result<Value> {
    let Some((known, call)) = FILTERS.iter().find(|(known, _)| *known == name) else {
        return fail(format!("No filter named '{name}' found."));
    };
    interp.meter.spend(1)?;
    match call {
        Call::Open(function) => function(interp, value, given),
        Call::Bound(parameters, required, function) => {
            let values = given.bind(known, parameters, *required)?;
            function(interp, value, &Arguments { name: known, values })
        }
    }
}
