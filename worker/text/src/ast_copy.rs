//! A template's syntax tree, copied with two changes that bound what a template can make. The engine
//! counts steps, but neither adding lists nor walking nested ones costs any, so a few lines could
//! build a value of 2^90 parts (`l = l + l`, ninety times) and then print it.
//!
//! * Whatever makes a list, a map or a tuple goes through the filter SIZED, which refuses values of
//!   too many parts (sized.rs). Values then only grow by refused steps.
//! * `{% set ns.name = value %}` becomes a call of our own namespace object (names.rs): the engine's
//!   can be made to hold itself.
//!
//! Nodes cannot be changed in place, hence the copy; it is as long as the list of node kinds.

use crate::names;
use minijinja::machinery::ast::*;
use minijinja::machinery::Span;
use minijinja::value::Value;

pub const SIZED: &str = "__trainyard_sized";
/// Holds what a `{% set ns.name %}` block rendered until the call.
const BLOCK_VALUE: &str = "__trainyard_block";

pub fn statement<'a>(node: &Stmt<'a>) -> Stmt<'a> {
    match node {
        Stmt::Template(n) => {
            Stmt::Template(Spanned::new(Template { children: block(&n.children) }, n.span()))
        }
        Stmt::EmitExpr(n) => {
            Stmt::EmitExpr(Spanned::new(EmitExpr { expr: expression(&n.expr) }, n.span()))
        }
        Stmt::EmitRaw(n) => Stmt::EmitRaw(Spanned::new(EmitRaw { raw: n.raw }, n.span())),
        Stmt::ForLoop(n) => {
            let copy = ForLoop {
                target: target(&n.target),
                iter: expression(&n.iter),
                filter_expr: n.filter_expr.as_ref().map(expression),
                recursive: n.recursive,
                body: block(&n.body),
                else_body: block(&n.else_body),
            };
            Stmt::ForLoop(Spanned::new(copy, n.span()))
        }
        Stmt::IfCond(n) => {
            let copy = IfCond {
                expr: expression(&n.expr),
                true_body: block(&n.true_body),
                false_body: block(&n.false_body),
            };
            Stmt::IfCond(Spanned::new(copy, n.span()))
        }
        Stmt::WithBlock(n) => {
            let assignments =
                n.assignments.iter().map(|(to, value)| (target(to), expression(value))).collect();
            Stmt::WithBlock(Spanned::new(WithBlock { assignments, body: block(&n.body) }, n.span()))
        }
        Stmt::Set(n) => match &n.target {
            Expr::GetAttr(to) => store(to, expression(&n.expr), n.span()),
            to => {
                let copy = Set { target: target(to), expr: expression(&n.expr) };
                Stmt::Set(Spanned::new(copy, n.span()))
            }
        },
        Stmt::SetBlock(n) => Stmt::SetBlock(set_block(n, target(&n.target))),
        Stmt::AutoEscape(n) => {
            let copy = AutoEscape { enabled: expression(&n.enabled), body: block(&n.body) };
            Stmt::AutoEscape(Spanned::new(copy, n.span()))
        }
        Stmt::FilterBlock(n) => {
            let copy = FilterBlock {
                filter: filters_of_block(&n.filter),
                filter_span: n.filter_span,
                body: block(&n.body),
            };
            Stmt::FilterBlock(Spanned::new(copy, n.span()))
        }
        Stmt::Macro(n) => Stmt::Macro(macro_of(n)),
        Stmt::CallBlock(n) => {
            let copy = CallBlock {
                call: call(&n.call),
                call_expr_span: n.call_expr_span,
                macro_decl: macro_of(&n.macro_decl),
            };
            Stmt::CallBlock(Spanned::new(copy, n.span()))
        }
        Stmt::Continue(n) => Stmt::Continue(Spanned::new(Continue, n.span())),
        Stmt::Break(n) => Stmt::Break(Spanned::new(Break, n.span())),
        Stmt::Do(n) => Stmt::Do(Spanned::new(Do { call: call(&n.call) }, n.span())),
    }
}

fn block<'a>(nodes: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
    let mut copies = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Stmt::SetBlock(n) if matches!(n.target, Expr::GetAttr(_)) => {
                let Expr::GetAttr(to) = &n.target else { continue };
                let held = || Expr::Var(Spanned::new(Var { id: BLOCK_VALUE }, n.span()));
                copies.push(Stmt::SetBlock(set_block(n, held())));
                copies.push(store(to, held(), n.span()));
            }
            node => copies.push(statement(node)),
        }
    }
    copies
}

fn set_block<'a>(n: &Spanned<SetBlock<'a>>, target: Expr<'a>) -> Spanned<SetBlock<'a>> {
    let filter = n.filter.as_ref().map(filters_of_block);
    Spanned::new(SetBlock { target, filter, body: block(&n.body) }, n.span())
}

/// `ns.name = value` as `ns.SET("name", value)`.
fn store<'a>(to: &GetAttr<'a>, value: Expr<'a>, span: Span) -> Stmt<'a> {
    let name = Expr::Const(Spanned::new(Const { value: Value::from(to.name) }, span));
    let setter = GetAttr { expr: expression(&to.expr), name: names::SET };
    let call = Call {
        expr: Expr::GetAttr(Spanned::new(setter, span)),
        args: vec![CallArg::Pos(name), CallArg::Pos(value)],
    };
    Stmt::Do(Spanned::new(Do { call: Spanned::new(call, span) }, span))
}

fn macro_of<'a>(n: &Spanned<Macro<'a>>) -> Spanned<Macro<'a>> {
    let copy = Macro {
        name: n.name,
        args: n.args.iter().map(target).collect(),
        defaults: n.defaults.iter().map(expression).collect(),
        body: block(&n.body),
    };
    Spanned::new(copy, n.span())
}

/// What is assigned to: names, or lists of them.
fn target<'a>(node: &Expr<'a>) -> Expr<'a> {
    match node {
        Expr::List(n) => {
            Expr::List(Spanned::new(List { items: n.items.iter().map(target).collect() }, n.span()))
        }
        node => plain(node),
    }
}

/// The filters of `{% filter %}` and `{% set x | ... %}`: the first has nothing before it.
fn filters_of_block<'a>(node: &Expr<'a>) -> Expr<'a> {
    match node {
        Expr::Filter(n) => {
            let copy = Filter {
                name: n.name,
                expr: n.expr.as_ref().map(filters_of_block),
                args: arguments(&n.args),
            };
            sized(Expr::Filter(Spanned::new(copy, n.span())))
        }
        node => expression(node),
    }
}

fn expression<'a>(node: &Expr<'a>) -> Expr<'a> {
    let copy = plain(node);
    if may_grow(node) {
        sized(copy)
    } else {
        copy
    }
}

fn sized(node: Expr<'_>) -> Expr<'_> {
    let span = node.span();
    Expr::Filter(Spanned::new(Filter { name: SIZED, expr: Some(node), args: vec![] }, span))
}

/// Whether the result may be a list, map or tuple with more parts than what it is made of.
fn may_grow(node: &Expr) -> bool {
    match node {
        Expr::List(n) => !n.items.is_empty(),
        Expr::Tuple(n) => !n.items.is_empty(),
        Expr::Map(n) => !n.keys.is_empty(),
        Expr::BinOp(n) => matches!(n.op, BinOpKind::Add | BinOpKind::Mul) && !is_text(node),
        Expr::Call(n) => {
            !matches!(&n.expr, Expr::Var(name) if name.id == "loop" || name.id == "caller")
        }
        Expr::Filter(_) => true,
        _ => false,
    }
}

/// Surely a text, or an error.
fn is_text(node: &Expr) -> bool {
    match node {
        Expr::Const(n) => n.value.as_str().is_some(),
        Expr::BinOp(n) => match n.op {
            BinOpKind::Add | BinOpKind::Mul => is_text(&n.left) || is_text(&n.right),
            op => matches!(op, BinOpKind::Concat),
        },
        _ => false,
    }
}

fn arguments<'a>(nodes: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    let copy = |node: &CallArg<'a>| match node {
        CallArg::Pos(n) => CallArg::Pos(expression(n)),
        CallArg::Kwarg(name, n) => CallArg::Kwarg(name, expression(n)),
        CallArg::PosSplat(n) => CallArg::PosSplat(expression(n)),
        CallArg::KwargSplat(n) => CallArg::KwargSplat(expression(n)),
    };
    nodes.iter().map(copy).collect()
}

fn call<'a>(n: &Spanned<Call<'a>>) -> Spanned<Call<'a>> {
    Spanned::new(Call { expr: expression(&n.expr), args: arguments(&n.args) }, n.span())
}

fn all<'a>(nodes: &[Expr<'a>]) -> Vec<Expr<'a>> {
    nodes.iter().map(expression).collect()
}

fn plain<'a>(node: &Expr<'a>) -> Expr<'a> {
    let some = |node: &Option<Expr<'a>>| node.as_ref().map(expression);
    match node {
        Expr::Var(n) => Expr::Var(Spanned::new(Var { id: n.id }, n.span())),
        Expr::Const(n) => Expr::Const(Spanned::new(Const { value: n.value.clone() }, n.span())),
        Expr::Slice(n) => {
            let (start, stop, step) = (some(&n.start), some(&n.stop), some(&n.step));
            Expr::Slice(Spanned::new(
                Slice { expr: expression(&n.expr), start, stop, step },
                n.span(),
            ))
        }
        Expr::UnaryOp(n) => {
            let op = match n.op {
                UnaryOpKind::Not => UnaryOpKind::Not,
                UnaryOpKind::Neg => UnaryOpKind::Neg,
            };
            Expr::UnaryOp(Spanned::new(UnaryOp { op, expr: expression(&n.expr) }, n.span()))
        }
        Expr::BinOp(n) => {
            let (left, right) = (expression(&n.left), expression(&n.right));
            Expr::BinOp(Spanned::new(BinOp { op: n.op, left, right }, n.span()))
        }
        Expr::Compare(n) => {
            let ops =
                n.ops.iter().map(|o| CompareOp { op: o.op, expr: expression(&o.expr) }).collect();
            Expr::Compare(Spanned::new(Compare { expr: expression(&n.expr), ops }, n.span()))
        }
        Expr::IfExpr(n) => {
            let copy = IfExpr {
                test_expr: expression(&n.test_expr),
                true_expr: expression(&n.true_expr),
                false_expr: some(&n.false_expr),
            };
            Expr::IfExpr(Spanned::new(copy, n.span()))
        }
        Expr::Filter(n) => {
            let copy = Filter { name: n.name, expr: some(&n.expr), args: arguments(&n.args) };
            Expr::Filter(Spanned::new(copy, n.span()))
        }
        Expr::Test(n) => {
            let copy = Test { name: n.name, expr: expression(&n.expr), args: arguments(&n.args) };
            Expr::Test(Spanned::new(copy, n.span()))
        }
        Expr::GetAttr(n) => Expr::GetAttr(Spanned::new(
            GetAttr { expr: expression(&n.expr), name: n.name },
            n.span(),
        )),
        Expr::GetItem(n) => {
            let subscript_expr = expression(&n.subscript_expr);
            let copy = GetItem { expr: expression(&n.expr), subscript_expr };
            Expr::GetItem(Spanned::new(copy, n.span()))
        }
        Expr::Call(n) => Expr::Call(call(n)),
        Expr::List(n) => Expr::List(Spanned::new(List { items: all(&n.items) }, n.span())),
        Expr::Tuple(n) => Expr::Tuple(Spanned::new(Tuple { items: all(&n.items) }, n.span())),
        Expr::Map(n) => {
            Expr::Map(Spanned::new(Map { keys: all(&n.keys), values: all(&n.values) }, n.span()))
        }
    }
}
