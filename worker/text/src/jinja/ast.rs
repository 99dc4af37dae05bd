//! A template's syntax tree.

use super::ops::Operator;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Literal {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Default)]
pub struct Arguments {
    pub positional: Vec<Expr>,
    pub named: Vec<(Arc<str>, Expr)>,
    pub splat: Option<Box<Expr>>,
    pub named_splat: Option<Box<Expr>>,
}

#[derive(Debug)]
pub struct SliceParts {
    pub start: Option<Expr>,
    pub stop: Option<Expr>,
    pub step: Option<Expr>,
}

#[derive(Debug)]
pub struct Expr {
    pub line: usize,
    pub node: Node,
}

#[derive(Debug)]
pub enum Node {
    Literal(Literal),
    Name(Arc<str>),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Conditional {
        test: Box<Expr>,
        then: Box<Expr>,
        otherwise: Option<Box<Expr>>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Attribute(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<SliceParts>),
    /// A slice among several subscripts, which no value takes.
    BareSlice,
    Call(Box<Expr>, Box<Arguments>),
    /// Without a value: of the text of a block.
    Filter(Option<Box<Expr>>, Arc<str>, Box<Arguments>),
    Test(Box<Expr>, Arc<str>, Box<Arguments>),
}

#[derive(Debug)]
pub enum Target {
    Name(Arc<str>),
    /// A name of a namespace.
    Namespace(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

/// The index of a scope's table (symbols.rs).
pub type ScopeId = usize;

#[derive(Debug)]
pub struct ForNode {
    pub target: Target,
    pub over: Expr,
    pub test: Option<Expr>,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
    pub recursive: bool,
    pub body_scope: ScopeId,
    pub test_scope: ScopeId,
    pub else_scope: ScopeId,
}

#[derive(Debug, Default)]
pub struct MacroNode {
    pub name: Option<Arc<str>>,
    pub parameters: Vec<Arc<str>>,
    /// Of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Vec<Statement>,
    pub scope: ScopeId,
    /// Which of the special names the body reads.
    pub caller: bool,
    pub kwargs: bool,
    pub varargs: bool,
}

#[derive(Debug)]
pub struct BlockNode {
    pub name: Arc<str>,
    pub body: Vec<Statement>,
    pub scoped: bool,
    /// Of its own it is an error: a template that extends this one would fill it.
    pub required: bool,
    pub scope: ScopeId,
}

#[derive(Debug)]
pub struct Statement {
    pub line: usize,
    pub node: Command,
}

#[derive(Debug)]
pub enum Command {
    Text(Arc<str>),
    Print(Expr),
    If {
        branches: Vec<(Expr, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Arc<ForNode>),
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Vec<Statement>,
        scope: ScopeId,
    },
    With {
        targets: Vec<Target>,
        values: Vec<Expr>,
        body: Vec<Statement>,
        scope: ScopeId,
    },
    Macro(Arc<MacroNode>),
    CallBlock {
        call: Expr,
        node: Arc<MacroNode>,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Statement>,
        scope: ScopeId,
    },
    AutoEscape {
        on: Expr,
        body: Vec<Statement>,
        scope: ScopeId,
    },
    /// Hugging Face's extension: what the assistant wrote.
    Generation(Arc<MacroNode>),
    Block(Arc<BlockNode>),
    Break,
    Continue,
    /// include, import, from, extends: the tag, the name of the template, the names it would set.
    Load {
        tag: &'static str,
        template: Expr,
        names: Vec<Arc<str>>,
    },
}

#[derive(Debug, Default)]
pub struct Template {
    pub body: Vec<Statement>,
    pub scope: ScopeId,
    pub blocks: Vec<Arc<BlockNode>>,
    /// What each scope loads when it is entered.
    pub scopes: Vec<Vec<(Arc<str>, Load)>>,
    pub marks_generation: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    Parameter,
    /// From the variables of the rendering.
    Resolve,
    /// From the scope around it.
    Alias,
    Missing,
}
