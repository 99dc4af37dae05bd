//! Expressions, parsed with Jinja's precedence.

use super::ast::{Arguments, Comparison, Expr, Literal, Node, SliceParts};
use super::cursor::{shown, Cursor};
use super::error::Result;
use super::lexer::Token;
use super::ops::Operator;
use std::sync::Arc;

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

fn at(line: usize, node: Node) -> Expr {
    Expr { line, node }
}

/// What ends a tuple that stands without parentheses.
#[derive(Clone, Copy, Default)]
pub struct TupleRules {
    pub without_condition: bool,
    pub end_word: Option<&'static str>,
    pub in_parentheses: bool,
}

pub fn tuple(cursor: &mut Cursor, rules: TupleRules) -> Result<Expr> {
    let line = cursor.line();
    let (mut items, mut is_tuple) = (vec![], false);
    loop {
        if !items.is_empty() {
            cursor.expect_sign(",")?;
        }
        let ends = matches!(cursor.peek(), Token::VariableEnd | Token::BlockEnd)
            || cursor.is_sign(")")
            || rules.end_word.is_some_and(|word| cursor.is_word(word));
        if ends {
            break;
        }
        items.push(if rules.without_condition { or(cursor)? } else { expression(cursor)? });
        if !cursor.is_sign(",") {
            break;
        }
        is_tuple = true;
    }
    if !is_tuple {
        if let Some(only) = items.pop() {
            return Ok(only);
        }
        if !rules.in_parentheses {
            let got = shown(cursor.peek());
            return cursor.fail(format!("Expected an expression, got '{got}'"));
        }
    }
    Ok(at(line, Node::Tuple(items)))
}

pub fn expression(cursor: &mut Cursor) -> Result<Expr> {
    cursor.nest(conditional)
}

fn conditional(cursor: &mut Cursor) -> Result<Expr> {
    let mut line = cursor.line();
    let mut then = or(cursor)?;
    while cursor.skip_word("if") {
        let test = boxed(or(cursor)?);
        let otherwise = match cursor.skip_word("else") {
            true => Some(boxed(expression(cursor)?)),
            false => None,
        };
        then = at(line, Node::Conditional { test, then: boxed(then), otherwise });
        line = cursor.line();
    }
    Ok(then)
}

fn or(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    let mut left = and(cursor)?;
    while cursor.skip_word("or") {
        left = at(line, Node::Or(boxed(left), boxed(and(cursor)?)));
    }
    Ok(left)
}

fn and(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    let mut left = not(cursor)?;
    while cursor.skip_word("and") {
        left = at(line, Node::And(boxed(left), boxed(not(cursor)?)));
    }
    Ok(left)
}

fn not(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    if cursor.skip_word("not") {
        return Ok(at(line, Node::Not(boxed(cursor.nest(not)?))));
    }
    compare(cursor)
}

fn comparison(cursor: &mut Cursor) -> Option<Comparison> {
    let signs = [
        ("==", Comparison::Eq),
        ("!=", Comparison::Ne),
        ("<", Comparison::Lt),
        ("<=", Comparison::Le),
        (">", Comparison::Gt),
        (">=", Comparison::Ge),
    ];
    if let Some((_, op)) = signs.iter().find(|(sign, _)| cursor.is_sign(sign)) {
        cursor.next();
        return Some(*op);
    }
    if cursor.skip_word("in") {
        return Some(Comparison::In);
    }
    if cursor.is_word("not") && matches!(cursor.second(), Token::Name(word) if &**word == "in") {
        cursor.next();
        cursor.next();
        return Some(Comparison::NotIn);
    }
    None
}

fn compare(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    let first = sum(cursor)?;
    let mut rest = vec![];
    while let Some(op) = comparison(cursor) {
        rest.push((op, sum(cursor)?));
    }
    Ok(if rest.is_empty() { first } else { at(line, Node::Compare(boxed(first), rest)) })
}

type Level = fn(&mut Cursor) -> Result<Expr>;

fn binary(cursor: &mut Cursor, signs: &[(&str, Operator)], operand: Level) -> Result<Expr> {
    let line = cursor.line();
    let mut left = operand(cursor)?;
    while let Some((_, op)) = signs.iter().find(|(sign, _)| cursor.is_sign(sign)) {
        cursor.next();
        left = at(line, Node::Binary(*op, boxed(left), boxed(operand(cursor)?)));
    }
    Ok(left)
}

fn sum(cursor: &mut Cursor) -> Result<Expr> {
    binary(cursor, &[("+", Operator::Add), ("-", Operator::Sub)], concat)
}

fn concat(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    let mut parts = vec![product(cursor)?];
    while cursor.skip_sign("~") {
        parts.push(product(cursor)?);
    }
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => Ok(at(line, Node::Concat(parts))),
    }
}

fn product(cursor: &mut Cursor) -> Result<Expr> {
    let signs = [
        ("*", Operator::Mul),
        ("/", Operator::Div),
        ("//", Operator::FloorDiv),
        ("%", Operator::Mod),
    ];
    binary(cursor, &signs, power)
}

fn power(cursor: &mut Cursor) -> Result<Expr> {
    binary(cursor, &[("**", Operator::Pow)], |cursor| unary(cursor, true))
}

fn unary(cursor: &mut Cursor, with_filters: bool) -> Result<Expr> {
    let line = cursor.line();
    let expr = if cursor.skip_sign("-") {
        at(line, Node::Negate(boxed(cursor.nest(|cursor| unary(cursor, false))?)))
    } else if cursor.skip_sign("+") {
        at(line, Node::Positive(boxed(cursor.nest(|cursor| unary(cursor, false))?)))
    } else {
        primary(cursor)?
    };
    let expr = postfix(cursor, expr)?;
    if with_filters {
        return filters_and_tests(cursor, expr);
    }
    Ok(expr)
}

pub fn literal_of_name(name: &str) -> Option<Literal> {
    Some(match name {
        "true" | "True" => Literal::Bool(true),
        "false" | "False" => Literal::Bool(false),
        "none" | "None" => Literal::None,
        _ => return None,
    })
}

fn primary(cursor: &mut Cursor) -> Result<Expr> {
    let line = cursor.line();
    let token = cursor.peek().clone();
    let literal = |literal| Ok(at(line, Node::Literal(literal)));
    match token {
        Token::Name(name) => {
            cursor.next();
            match literal_of_name(&name) {
                Some(known) => literal(known),
                None => Ok(at(line, Node::Name(name))),
            }
        }
        Token::Text(text) => {
            cursor.next();
            let mut whole = text.to_string();
            while let Token::Text(more) = cursor.peek() {
                whole.push_str(more);
                cursor.next();
            }
            literal(Literal::Text(whole.into()))
        }
        Token::Int(int) => {
            cursor.next();
            literal(Literal::Int(int))
        }
        Token::Float(float) => {
            cursor.next();
            literal(Literal::Float(float))
        }
        Token::Sign("(") => {
            cursor.next();
            let rules = TupleRules { in_parentheses: true, ..TupleRules::default() };
            let inside = cursor.nest(|cursor| tuple(cursor, rules))?;
            cursor.expect_sign(")")?;
            Ok(inside)
        }
        Token::Sign("[") => {
            cursor.next();
            Ok(at(line, Node::List(items(cursor, "]", expression)?)))
        }
        Token::Sign("{") => {
            cursor.next();
            let pair = |cursor: &mut Cursor| {
                let key = expression(cursor)?;
                cursor.expect_sign(":")?;
                Ok((key, expression(cursor)?))
            };
            Ok(at(line, Node::Dict(items(cursor, "}", pair)?)))
        }
        token => cursor.fail(format!("unexpected '{}'", shown(&token))),
    }
}

/// Items between commas up to `end`; a comma may stand behind the last.
fn items<T>(
    cursor: &mut Cursor,
    end: &str,
    mut item: impl FnMut(&mut Cursor) -> Result<T>,
) -> Result<Vec<T>> {
    let mut found = vec![];
    while !cursor.is_sign(end) {
        if !found.is_empty() {
            cursor.expect_sign(",")?;
            if cursor.is_sign(end) {
                break;
            }
        }
        found.push(item(cursor)?);
    }
    cursor.expect_sign(end)?;
    Ok(found)
}

fn postfix(cursor: &mut Cursor, mut expr: Expr) -> Result<Expr> {
    loop {
        let line = cursor.line();
        if cursor.skip_sign(".") {
            expr = match cursor.next() {
                Token::Name(name) => at(line, Node::Attribute(boxed(expr), name)),
                Token::Int(int) => {
                    let index = at(line, Node::Literal(Literal::Int(int)));
                    at(line, Node::Item(boxed(expr), boxed(index)))
                }
                _ => return cursor.fail("expected name or number"),
            };
        } else if cursor.skip_sign("[") {
            expr = subscript(cursor, expr, line)?;
        } else if cursor.is_sign("(") {
            expr = at(line, Node::Call(boxed(expr), Box::new(arguments(cursor)?)));
        } else {
            return Ok(expr);
        }
    }
}

fn subscript(cursor: &mut Cursor, expr: Expr, line: usize) -> Result<Expr> {
    let mut found = vec![];
    while !cursor.is_sign("]") {
        if !found.is_empty() {
            cursor.expect_sign(",")?;
        }
        found.push(subscribed(cursor)?);
    }
    cursor.expect_sign("]")?;
    if found.len() == 1 {
        return Ok(match found.remove(0) {
            Subscript::Index(index) => at(line, Node::Item(boxed(expr), boxed(index))),
            Subscript::Slice(parts) => at(line, Node::Slice(boxed(expr), parts)),
        });
    }
    let parts = found.into_iter().map(|part| match part {
        Subscript::Index(index) => index,
        Subscript::Slice(_) => at(line, Node::BareSlice),
    });
    let index = at(line, Node::Tuple(parts.collect()));
    Ok(at(line, Node::Item(boxed(expr), boxed(index))))
}

enum Subscript {
    Index(Expr),
    Slice(Box<SliceParts>),
}

fn subscribed(cursor: &mut Cursor) -> Result<Subscript> {
    let part = |cursor: &mut Cursor| match cursor.is_sign("]") || cursor.is_sign(",") {
        true => Ok(None),
        false => expression(cursor).map(Some),
    };
    let start = match cursor.is_sign(":") {
        true => None,
        false => Some(expression(cursor)?),
    };
    if !cursor.skip_sign(":") {
        let Some(index) = start else { return cursor.fail("expected subscript expression") };
        return Ok(Subscript::Index(index));
    }
    let stop = if cursor.is_sign(":") { None } else { part(cursor)? };
    let step = if cursor.skip_sign(":") { part(cursor)? } else { None };
    Ok(Subscript::Slice(Box::new(SliceParts { start, stop, step })))
}

pub fn arguments(cursor: &mut Cursor) -> Result<Arguments> {
    let invalid = "invalid syntax for function call expression";
    cursor.expect_sign("(")?;
    let mut found = Arguments::default();
    let mut needs_comma = false;
    while !cursor.is_sign(")") {
        if needs_comma {
            cursor.expect_sign(",")?;
            if cursor.is_sign(")") {
                break;
            }
        }
        needs_comma = true;
        let splatted = found.splat.is_some() || found.named_splat.is_some();
        if cursor.skip_sign("*") {
            if splatted {
                return cursor.fail(invalid);
            }
            found.splat = Some(boxed(expression(cursor)?));
        } else if cursor.skip_sign("**") {
            if found.named_splat.is_some() {
                return cursor.fail(invalid);
            }
            found.named_splat = Some(boxed(expression(cursor)?));
        } else if matches!(cursor.peek(), Token::Name(_)) && *cursor.second() == Token::Sign("=") {
            named_argument(cursor, &mut found)?;
        } else {
            if splatted || !found.named.is_empty() {
                return cursor.fail(invalid);
            }
            found.positional.push(expression(cursor)?);
        }
    }
    cursor.expect_sign(")")?;
    Ok(found)
}

fn named_argument(cursor: &mut Cursor, found: &mut Arguments) -> Result<()> {
    let name = cursor.expect_name()?;
    if found.named_splat.is_some() {
        return cursor.fail("invalid syntax for function call expression");
    }
    if found.named.iter().any(|(known, _)| *known == name) {
        return cursor.fail(format!("keyword argument repeated: {name}"));
    }
    cursor.next();
    found.named.push((name, expression(cursor)?));
    Ok(())
}

fn filters_and_tests(cursor: &mut Cursor, mut expr: Expr) -> Result<Expr> {
    loop {
        let line = cursor.line();
        if cursor.is_sign("|") {
            expr = filters(cursor, Some(expr))?;
        } else if cursor.skip_word("is") {
            expr = test(cursor, expr, line)?;
        } else if cursor.is_sign("(") {
            expr = at(line, Node::Call(boxed(expr), Box::new(arguments(cursor)?)));
        } else {
            return Ok(expr);
        }
    }
}

fn dotted_name(cursor: &mut Cursor) -> Result<Arc<str>> {
    let mut name = cursor.expect_name()?;
    while cursor.skip_sign(".") {
        name = format!("{name}.{}", cursor.expect_name()?).into();
    }
    Ok(name)
}

/// Filters of `expr`, or those of a block: the first without its "|".
pub fn filters(cursor: &mut Cursor, mut expr: Option<Expr>) -> Result<Expr> {
    let mut inline = expr.is_none() && !cursor.is_sign("|");
    while inline || cursor.skip_sign("|") {
        inline = false;
        let line = cursor.line();
        let name = dotted_name(cursor)?;
        let given = match cursor.is_sign("(") {
            true => arguments(cursor)?,
            false => Arguments::default(),
        };
        expr = Some(at(line, Node::Filter(expr.map(boxed), name, Box::new(given))));
    }
    match expr {
        Some(expr) => Ok(expr),
        None => cursor.fail("expected a filter"),
    }
}

fn test(cursor: &mut Cursor, expr: Expr, line: usize) -> Result<Expr> {
    let negated = cursor.skip_word("not");
    let name = dotted_name(cursor)?;
    let mut given = Arguments::default();
    let takes_operand = match cursor.peek() {
        Token::Name(word) => !matches!(&**word, "else" | "or" | "and"),
        Token::Text(_) | Token::Int(_) | Token::Float(_) => true,
        Token::Sign(sign) => matches!(*sign, "[" | "{"),
        _ => false,
    };
    if cursor.is_sign("(") {
        given = arguments(cursor)?;
    } else if takes_operand {
        if cursor.is_word("is") {
            return cursor.fail("You cannot chain multiple tests with is");
        }
        let operand = primary(cursor)?;
        given.positional.push(postfix(cursor, operand)?);
    }
    let test = at(line, Node::Test(boxed(expr), name, Box::new(given)));
    Ok(if negated { at(line, Node::Not(boxed(test))) } else { test })
}
