//! Expressions.

use super::ast::{Comparison, Expr, Literal, Node, SliceParts};
use super::attributes;
use super::call::Given;
use super::dict::Dict;
use super::error::{fail, Error, Result};
use super::html;
use super::interp::Interp;
use super::iterate::contains;
use super::ops::{binary, equal, negate, order, positive};
use super::repr::text_of;
use super::scope::Scope;
use super::value::Value;
use super::{checks, filters};
use std::cmp::Ordering;
use std::rc::Rc;

pub fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::None => Value::None,
        Literal::Bool(flag) => Value::Bool(*flag),
        Literal::Int(int) => Value::Int(*int),
        Literal::Float(float) => Value::Float(*float),
        Literal::Text(text) => Value::Str(text.clone()),
    }
}

impl Interp {
    pub fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        self.meter.spend(1)?;
        self.deeper(|| self.node(expr, scope))
            .map_err(|error| Error { line: error.line.or(Some(expr.line)), ..error })
    }

    fn all(&self, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn node(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        let eval = |expr: &Expr| self.eval(expr, scope);
        Ok(match &expr.node {
            Node::Literal(value) => literal(value),
            Node::Name(name) => match scope.get(name) {
                Some(value) => value,
                None => Value::undefined(format!("'{name}' is undefined")),
            },
            Node::Tuple(items) => Value::tuple(self.all(items, scope)?)?,
            Node::List(items) => Value::list(self.all(items, scope)?)?,
            Node::Dict(pairs) => {
                let pairs: Result<Vec<_>> =
                    pairs.iter().map(|(key, value)| Ok((eval(key)?, eval(value)?))).collect();
                Dict::value(&self.meter, pairs?)?
            }
            Node::Conditional { test, then, otherwise } => {
                match (eval(test)?.is_true(), otherwise) {
                    (true, _) => eval(then)?,
                    (false, Some(otherwise)) => eval(otherwise)?,
                    (false, None) => Value::undefined(
                        "the inline if-expression evaluated to false and no else section was defined.",
                    ),
                }
            }
            Node::And(a, b) => {
                let a = eval(a)?;
                if a.is_true() {
                    eval(b)?
                } else {
                    a
                }
            }
            Node::Or(a, b) => {
                let a = eval(a)?;
                if a.is_true() {
                    a
                } else {
                    eval(b)?
                }
            }
            Node::Not(a) => Value::Bool(!eval(a)?.is_true()),
            Node::Negate(a) => negate(&eval(a)?)?,
            Node::Positive(a) => positive(&eval(a)?)?,
            Node::Binary(op, a, b) => {
                let (a, b) = (eval(a)?, eval(b)?);
                binary(self, *op, &a, &b)?
            }
            Node::Concat(parts) => self.concat(&self.all(parts, scope)?)?,
            Node::Compare(first, rest) => {
                let mut left = eval(first)?;
                for (op, right) in rest {
                    let right = eval(right)?;
                    if !self.compare(*op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Node::Attribute(value, name) => attributes::attribute(self, &eval(value)?, name)?,
            Node::Item(value, index) => {
                let (value, index) = (eval(value)?, eval(index)?);
                attributes::item(self, &value, &index)?
            }
            Node::Slice(value, parts) => self.slice(&eval(value)?, parts, scope)?,
            Node::BareSlice => {
                return fail("a slice among several subscripts is not supported in templates")
            }
            Node::Call(..) => self.eval_call(expr, scope, None)?,
            Node::Filter(value, name, arguments) => {
                let value = match value {
                    Some(value) => eval(value)?,
                    None => return fail(format!("the filter {name} has no value")),
                };
                let given = self.given(arguments, scope)?;
                filters::apply(self, name, &value, given)?
            }
            Node::Test(value, name, arguments) => {
                let value = eval(value)?;
                let given = self.given(arguments, scope)?;
                Value::Bool(checks::check(self, name, &value, given)?)
            }
        })
    }

    /// The filters of a block on its text.
    pub fn filtered(&self, filter: &Expr, text: Value, scope: &Rc<Scope>) -> Result<Value> {
        let Node::Filter(value, name, arguments) = &filter.node else { return Ok(text) };
        let value = match value {
            Some(inner) => self.filtered(inner, text, scope)?,
            None => text,
        };
        let given = self.given(arguments, scope)?;
        filters::apply(self, name, &value, given)
    }

    pub fn concat(&self, parts: &[Value]) -> Result<Value> {
        let escapes = self.autoescape.get() && parts.iter().any(Value::is_markup);
        let mut out = String::new();
        for part in parts {
            let text = text_of(self, part)?;
            match escapes && !part.is_markup() {
                true => self.write(&mut out, &html::escape_text(&text))?,
                false => self.write(&mut out, &text)?,
            }
        }
        Ok(if escapes { Value::markup(out) } else { Value::text(out) })
    }

    pub fn compare(&self, op: Comparison, a: &Value, b: &Value) -> Result<bool> {
        let ordered = |sign: &str, right: fn(Ordering) -> bool| {
            Ok(order(&self.meter, sign, a, b)?.is_some_and(right))
        };
        match op {
            Comparison::Eq => equal(&self.meter, a, b),
            Comparison::Ne => Ok(!equal(&self.meter, a, b)?),
            Comparison::Lt => ordered("<", Ordering::is_lt),
            Comparison::Le => ordered("<=", Ordering::is_le),
            Comparison::Gt => ordered(">", Ordering::is_gt),
            Comparison::Ge => ordered(">=", Ordering::is_ge),
            Comparison::In => contains(self, b, a),
            Comparison::NotIn => Ok(!contains(self, b, a)?),
        }
    }

    fn slice(&self, value: &Value, parts: &SliceParts, scope: &Rc<Scope>) -> Result<Value> {
        let bound = |part: &Option<Expr>| -> Result<Option<i128>> {
            let Some(part) = part else { return Ok(None) };
            let value = self.eval(part, scope)?;
            match (&value, value.as_int()) {
                (Value::None, _) => Ok(None),
                (_, Some(int)) => Ok(Some(int)),
                _ => fail("slice indices must be integers or None or have an __index__ method"),
            }
        };
        let (start, stop, step) = (bound(&parts.start)?, bound(&parts.stop)?, bound(&parts.step)?);
        attributes::slice(self, value, start, stop, step)
    }

    /// A call; `caller` is the block of `{% call %}`.
    pub fn eval_call(
        &self,
        expr: &Expr,
        scope: &Rc<Scope>,
        caller: Option<Value>,
    ) -> Result<Value> {
        let Node::Call(called, arguments) = &expr.node else { return fail("expected call") };
        let called = self.eval(called, scope)?;
        let mut given: Given = self.given(arguments, scope)?;
        if let Some(caller) = caller {
            given.named.push(("caller".into(), caller));
        }
        self.call_value(&called, given)
    }
}
