//! Which scope each name lives in, by Jinja's rules: a name that a scope sets is its own, from the
//! begin, and starts as a copy of the one around it (or as nothing); a name that it only reads comes
//! from around it, or from the variables of the rendering. The tables are filled once per template.

use super::ast::{
    BlockNode, Command, Expr, ForNode, Load, MacroNode, Node, ScopeId, Statement, Target, Template,
};
use super::error::{syntax, Result};
use super::uses::{each_part, reads_undeclared, sets, stores};
use super::{checks, filters};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Names = BTreeMap<Arc<str>, Load>;

#[derive(Clone, Default)]
struct Symbols<'p> {
    around: Option<&'p Symbols<'p>>,
    names: Names,
    stores: BTreeSet<Arc<str>>,
}

impl<'p> Symbols<'p> {
    fn inside(around: &'p Symbols<'p>) -> Self {
        Symbols { around: Some(around), ..Symbols::default() }
    }

    fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.around.is_some_and(|around| around.knows(name))
    }

    fn outer_knows(&self, name: &str) -> bool {
        self.around.is_some_and(|around| around.knows(name))
    }

    fn load(&mut self, name: &Arc<str>) {
        if !self.knows(name) {
            self.names.insert(name.clone(), Load::Resolve);
        }
    }

    fn store(&mut self, name: &Arc<str>) {
        self.stores.insert(name.clone());
        if !self.names.contains_key(name) {
            let load = if self.outer_knows(name) { Load::Alias } else { Load::Missing };
            self.names.insert(name.clone(), load);
        }
    }

    fn parameter(&mut self, name: &Arc<str>) {
        self.stores.insert(name.clone());
        self.names.insert(name.clone(), Load::Parameter);
    }

    /// Joins what the branches of an if do: a name that one of them sets keeps its outer value.
    fn join(&mut self, branches: Vec<(Names, BTreeSet<Arc<str>>)>) {
        let mut set: BTreeSet<Arc<str>> = BTreeSet::new();
        for (_, stores) in &branches {
            set.extend(stores.difference(&self.stores).cloned());
        }
        for (names, stores) in branches {
            self.names.extend(names);
            self.stores.extend(stores);
        }
        for name in set {
            let load = if self.outer_knows(&name) { Load::Alias } else { Load::Resolve };
            self.names.insert(name, load);
        }
    }

    fn target(&mut self, target: &Target, as_parameter: bool) {
        match target {
            Target::Name(name) if as_parameter => self.parameter(name),
            Target::Name(name) => self.store(name),
            Target::Namespace(name, _) => self.load(name),
            Target::Tuple(targets) => targets.iter().for_each(|t| self.target(t, as_parameter)),
        }
    }

    fn expression(&mut self, expr: &Expr) {
        if let Node::Name(name) = &expr.node {
            self.load(name);
        }
        each_part(expr, &mut |part| self.expression(part));
    }

    fn statements(&mut self, statements: &[Statement]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    /// What a statement does to the scope it stands in; those with scopes of their own come later.
    fn statement(&mut self, statement: &Statement) {
        match &statement.node {
            Command::Print(expr) => self.expression(expr),
            Command::If { branches, otherwise } => self.branches(branches, otherwise),
            Command::For(node) => self.expression(&node.over),
            Command::Set(target, expr) => {
                self.expression(expr);
                self.target(target, false);
            }
            Command::SetBlock { target, .. } => self.target(target, false),
            Command::With { values, .. } => values.iter().for_each(|value| self.expression(value)),
            Command::Macro(node) => node.name.iter().for_each(|name| self.store(name)),
            Command::CallBlock { call, .. } => self.expression(call),
            Command::FilterBlock { filter, .. } => self.expression(filter),
            Command::Load { template, names, .. } => {
                self.expression(template);
                names.iter().for_each(|name| self.store(name));
            }
            Command::Text(_)
            | Command::AutoEscape { .. }
            | Command::Generation(_)
            | Command::Block(_)
            | Command::Break
            | Command::Continue => {}
        }
    }

    /// Jinja joins three branches: the first, all of the elifs, and the else.
    fn branches(&mut self, branches: &[(Expr, Vec<Statement>)], otherwise: &[Statement]) {
        let Some(((test, body), elifs)) = branches.split_first() else { return };
        self.expression(test);
        let mut first = self.clone();
        first.statements(body);
        let mut middle = self.clone();
        for (test, body) in elifs {
            middle.expression(test);
            let mut branch = middle.clone();
            branch.statements(body);
            let joined = vec![(branch.names, branch.stores)];
            middle.join(joined);
        }
        let mut last = self.clone();
        last.statements(otherwise);
        self.join(vec![
            (first.names, first.stores),
            (middle.names, middle.stores),
            (last.names, last.stores),
        ]);
    }
}

/// Where a statement stands.
#[derive(Clone, Copy, Default)]
struct Place {
    in_loop: bool,
    /// Within an if: an unknown filter is an error only where it is used.
    is_soft: bool,
}

#[derive(Default)]
struct Tables {
    scopes: Vec<Vec<(Arc<str>, Load)>>,
}

/// Fills the tables of a parsed template.
pub fn resolve(template: &mut Template) -> Result<()> {
    let mut tables = Tables::default();
    let mut root = Symbols::default();
    root.statements(&template.body);
    template.scope = tables.add(&root);
    tables.statements(&mut template.body, &root, Place::default())?;
    // Blocks are rendered by what the tree holds; the list names them.
    let mut blocks = vec![];
    find_blocks(&template.body, &mut blocks);
    template.blocks = blocks;
    template.scopes = tables.scopes;
    Ok(())
}

fn find_blocks(statements: &[Statement], found: &mut Vec<Arc<BlockNode>>) {
    for statement in statements {
        match &statement.node {
            Command::Block(block) => {
                found.push(block.clone());
                find_blocks(&block.body, found);
            }
            Command::If { branches, otherwise } => {
                branches.iter().for_each(|(_, body)| find_blocks(body, found));
                find_blocks(otherwise, found);
            }
            Command::For(node) => {
                find_blocks(&node.body, found);
                find_blocks(&node.otherwise, found);
            }
            Command::SetBlock { body, .. }
            | Command::With { body, .. }
            | Command::FilterBlock { body, .. }
            | Command::AutoEscape { body, .. } => find_blocks(body, found),
            Command::Macro(node) | Command::Generation(node) => find_blocks(&node.body, found),
            Command::CallBlock { node, .. } => find_blocks(&node.body, found),
            _ => {}
        }
    }
}

fn unique<T>(node: &mut Arc<T>, line: usize) -> Result<&mut T> {
    match Arc::get_mut(node) {
        Some(node) => Ok(node),
        None => syntax(line, "a part of the template is held twice"),
    }
}

impl Tables {
    fn add(&mut self, symbols: &Symbols) -> ScopeId {
        self.scopes.push(symbols.names.iter().map(|(name, load)| (name.clone(), *load)).collect());
        self.scopes.len() - 1
    }

    fn statements(
        &mut self,
        body: &mut [Statement],
        symbols: &Symbols,
        place: Place,
    ) -> Result<()> {
        body.iter_mut().try_for_each(|statement| self.statement(statement, symbols, place))
    }

    fn statement(
        &mut self,
        statement: &mut Statement,
        symbols: &Symbols,
        place: Place,
    ) -> Result<()> {
        let line = statement.line;
        let soft = Place { is_soft: true, ..place };
        let hard = Place { is_soft: false, ..place };
        match &mut statement.node {
            Command::Text(_) => {}
            Command::Print(expr) | Command::Set(_, expr) => known(expr, place)?,
            Command::If { branches, otherwise } => {
                for (test, body) in branches {
                    known(test, soft)?;
                    self.statements(body, symbols, soft)?;
                }
                self.statements(otherwise, symbols, soft)?;
            }
            Command::For(node) => {
                known(&node.over, place)?;
                self.for_loop(unique(node, line)?, symbols, place, line)?;
            }
            Command::SetBlock { filter, body, scope, .. } => {
                let mut inner = Symbols::inside(symbols);
                // Jinja itself forgets the names in the filters' arguments here.
                filter.iter().for_each(|filter| inner.expression(filter));
                inner.statements(body);
                *scope = self.add(&inner);
                filter.iter().try_for_each(|filter| known(filter, hard))?;
                self.statements(body, &inner, hard)?;
            }
            Command::With { targets, values, body, scope } => {
                let mut inner = Symbols::inside(symbols);
                targets.iter().for_each(|target| inner.target(target, true));
                inner.statements(body);
                *scope = self.add(&inner);
                values.iter().try_for_each(|value| known(value, place))?;
                self.statements(body, &inner, hard)?;
            }
            Command::FilterBlock { filter, body, scope } => {
                let mut inner = Symbols::inside(symbols);
                inner.statements(body);
                inner.expression(filter);
                *scope = self.add(&inner);
                known(filter, hard)?;
                self.statements(body, &inner, hard)?;
            }
            Command::AutoEscape { on, body, scope } => {
                let mut inner = Symbols::inside(symbols);
                inner.expression(on);
                inner.statements(body);
                *scope = self.add(&inner);
                known(on, hard)?;
                self.statements(body, &inner, hard)?;
            }
            Command::Macro(node) | Command::Generation(node) => {
                self.macro_body(unique(node, line)?, symbols, line)?;
            }
            Command::CallBlock { call, node } => {
                known(call, place)?;
                self.macro_body(unique(node, line)?, symbols, line)?;
            }
            Command::Block(block) => {
                let block = unique(block, line)?;
                let mut inner = Symbols::default();
                inner.statements(&block.body);
                block.scope = self.add(&inner);
                self.statements(&mut block.body, &inner, Place::default())?;
            }
            Command::Break | Command::Continue if !place.in_loop => {
                return syntax(line, "'break' or 'continue' outside of a loop")
            }
            Command::Break | Command::Continue => {}
            Command::Load { template, .. } => known(template, place)?,
        }
        Ok(())
    }

    fn for_loop(
        &mut self,
        node: &mut ForNode,
        symbols: &Symbols,
        place: Place,
        line: usize,
    ) -> Result<()> {
        if stores(&node.target, "loop") || node.body.iter().any(|s| sets(s, "loop")) {
            return syntax(line, "Can't assign to special loop variable in for-loop target");
        }
        let mut body = Symbols::inside(symbols);
        body.parameter(&"loop".into());
        body.target(&node.target, true);
        body.statements(&node.body);
        node.body_scope = self.add(&body);
        let mut test = Symbols::inside(symbols);
        test.target(&node.target, true);
        if let Some(condition) = &node.test {
            test.expression(condition);
            known(condition, Place::default())?;
        }
        node.test_scope = self.add(&test);
        let mut otherwise = Symbols::inside(symbols);
        otherwise.statements(&node.otherwise);
        node.else_scope = self.add(&otherwise);
        self.statements(&mut node.body, &body, Place { in_loop: true, is_soft: false })?;
        let outside = Place { in_loop: place.in_loop && !node.recursive, is_soft: false };
        self.statements(&mut node.otherwise, &otherwise, outside)
    }

    fn macro_body(&mut self, node: &mut MacroNode, symbols: &Symbols, line: usize) -> Result<()> {
        let mut inner = Symbols::inside(symbols);
        node.parameters.iter().for_each(|name| inner.parameter(name));
        node.defaults.iter().for_each(|value| inner.expression(value));
        for (name, reads) in [
            ("caller", &mut node.caller),
            ("kwargs", &mut node.kwargs),
            ("varargs", &mut node.varargs),
        ] {
            let is_parameter = node.parameters.iter().any(|known| &**known == name);
            *reads = reads_undeclared(&node.body, name) == Some(true)
                && (!is_parameter || name == "caller");
            if *reads && !is_parameter {
                inner.parameter(&name.into());
            }
        }
        let explicit = node.parameters.iter().position(|name| &**name == "caller");
        let first_default = node.parameters.len() - node.defaults.len();
        if node.caller && explicit.is_some_and(|at| at < first_default) {
            return syntax(
                line,
                "the special \"caller\" argument must be omitted or be given a default",
            );
        }
        inner.statements(&node.body);
        node.scope = self.add(&inner);
        node.defaults.iter().try_for_each(|value| known(value, Place::default()))?;
        self.statements(&mut node.body, &inner, Place::default())
    }
}

/// Filters and tests that do not exist are an error at once, save within conditions.
fn known(expr: &Expr, place: Place) -> Result<()> {
    let missing = |kind: &str, name: &str| syntax(expr.line, format!("No {kind} named '{name}'."));
    match &expr.node {
        Node::Filter(_, name, _) if !place.is_soft && !filters::exists(name) => {
            return missing("filter", name)
        }
        Node::Test(_, name, _) if !place.is_soft && !checks::exists(name) => {
            return missing("test", name)
        }
        _ => {}
    }
    let inside = match expr.node {
        Node::Conditional { .. } => Place { is_soft: true, ..place },
        _ => place,
    };
    let mut outcome = Ok(());
    each_part(expr, &mut |part| {
        if outcome.is_ok() {
            outcome = known(part, inside);
        }
    });
    outcome
}
