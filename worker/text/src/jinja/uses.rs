//! Which names the parts of a tree read and set.

use super::ast::{Arguments, Command, Expr, MacroNode, Node, Statement, Target};

fn each_argument(arguments: &Arguments, visit: &mut impl FnMut(&Expr)) {
    arguments.positional.iter().for_each(&mut *visit);
    arguments.named.iter().for_each(|(_, expr)| visit(expr));
    arguments.splat.iter().for_each(|expr| visit(expr));
    arguments.named_splat.iter().for_each(|expr| visit(expr));
}

/// The parts of an expression, in the order they stand.
pub fn each_part(expr: &Expr, visit: &mut impl FnMut(&Expr)) {
    match &expr.node {
        Node::Literal(_) | Node::Name(_) | Node::BareSlice => {}
        Node::Tuple(items) | Node::List(items) | Node::Concat(items) => {
            items.iter().for_each(visit)
        }
        Node::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
            visit(key);
            visit(value);
        }),
        Node::Conditional { test, then, otherwise } => {
            visit(test);
            visit(then);
            otherwise.iter().for_each(|expr| visit(expr));
        }
        Node::And(a, b) | Node::Or(a, b) | Node::Binary(_, a, b) | Node::Item(a, b) => {
            visit(a);
            visit(b);
        }
        Node::Not(a) | Node::Negate(a) | Node::Positive(a) | Node::Attribute(a, _) => visit(a),
        Node::Compare(first, rest) => {
            visit(first);
            rest.iter().for_each(|(_, expr)| visit(expr));
        }
        Node::Slice(value, parts) => {
            visit(value);
            [&parts.start, &parts.stop, &parts.step].into_iter().flatten().for_each(visit);
        }
        Node::Call(called, arguments) => {
            visit(called);
            each_argument(arguments, visit);
        }
        Node::Filter(value, _, arguments) => {
            value.iter().for_each(|value| visit(value));
            each_argument(arguments, visit);
        }
        Node::Test(value, _, arguments) => {
            visit(value);
            each_argument(arguments, visit);
        }
    }
}

pub fn stores(target: &Target, name: &str) -> bool {
    match target {
        Target::Name(known) => &**known == name,
        Target::Namespace(..) => false,
        Target::Tuple(targets) => targets.iter().any(|target| stores(target, name)),
    }
}

pub fn sets(statement: &Statement, name: &str) -> bool {
    let any = |body: &[Statement]| body.iter().any(|statement| sets(statement, name));
    match &statement.node {
        Command::Set(target, _) => stores(target, name),
        Command::SetBlock { target, body, .. } => stores(target, name) || any(body),
        Command::If { branches, otherwise } => {
            branches.iter().any(|(_, body)| any(body)) || any(otherwise)
        }
        Command::For(node) => stores(&node.target, name) || any(&node.body) || any(&node.otherwise),
        Command::With { body, .. }
        | Command::FilterBlock { body, .. }
        | Command::AutoEscape { body, .. } => any(body),
        Command::Macro(node) | Command::Generation(node) => any(&node.body),
        Command::CallBlock { node, .. } => any(&node.body),
        _ => false,
    }
}

/// Whether the statements read a name before they set it; None where they do neither.
pub fn reads_undeclared(body: &[Statement], name: &str) -> Option<bool> {
    body.iter().find_map(|statement| first_use(statement, name))
}

fn reads(expr: &Expr, name: &str) -> Option<bool> {
    if matches!(&expr.node, Node::Name(known) if &**known == name) {
        return Some(true);
    }
    let mut found = None;
    each_part(expr, &mut |part| found = found.or_else(|| reads(part, name)));
    found
}

fn first_use(statement: &Statement, name: &str) -> Option<bool> {
    let target = |target: &Target| stores(target, name).then_some(false);
    let body = |body: &[Statement]| reads_undeclared(body, name);
    match &statement.node {
        Command::Print(expr) | Command::Load { template: expr, .. } => reads(expr, name),
        Command::If { branches, otherwise } => branches
            .iter()
            .find_map(|(test, inside)| reads(test, name).or_else(|| body(inside)))
            .or_else(|| body(otherwise)),
        Command::For(node) => target(&node.target)
            .or_else(|| reads(&node.over, name))
            .or_else(|| body(&node.body))
            .or_else(|| body(&node.otherwise))
            .or_else(|| node.test.as_ref().and_then(|test| reads(test, name))),
        Command::Set(to, expr) => target(to).or_else(|| reads(expr, name)),
        Command::SetBlock { target: to, filter, body: inside, .. } => target(to)
            .or_else(|| filter.as_ref().and_then(|filter| reads(filter, name)))
            .or_else(|| body(inside)),
        Command::With { targets, values, body: inside, .. } => targets
            .iter()
            .find_map(target)
            .or_else(|| values.iter().find_map(|value| reads(value, name)))
            .or_else(|| body(inside)),
        Command::Macro(node) | Command::Generation(node) => in_macro(node, name),
        Command::CallBlock { call, node } => reads(call, name).or_else(|| in_macro(node, name)),
        Command::FilterBlock { filter, body: inside, .. } => {
            body(inside).or_else(|| reads(filter, name))
        }
        Command::AutoEscape { on, body: inside, .. } => reads(on, name).or_else(|| body(inside)),
        _ => None,
    }
}

fn in_macro(node: &MacroNode, name: &str) -> Option<bool> {
    let shadowed = node.parameters.iter().any(|known| &**known == name).then_some(false);
    shadowed
        .or_else(|| node.defaults.iter().find_map(|value| reads(value, name)))
        .or_else(|| reads_undeclared(&node.body, name))
}
