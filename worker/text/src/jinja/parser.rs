//! Statements.

use super::ast::{BlockNode, Command, Expr, ForNode, MacroNode, Node, Statement, Target, Template};
use super::cursor::{shown, Cursor};
use super::error::Result;
use super::expressions::{expression, filters, literal_of_name, tuple, TupleRules};
use super::lexer::{tokens, Token};
use std::sync::Arc;

struct Parser {
    cursor: Cursor,
    marks_generation: bool,
    blocks: Vec<Arc<str>>,
}

/// The tree, before its scopes are known (symbols.rs).
pub fn parse(source: &str) -> Result<Template> {
    let mut parser =
        Parser { cursor: Cursor::new(tokens(source)?), marks_generation: false, blocks: vec![] };
    let body = parser.statements(&[])?;
    Ok(Template { body, marks_generation: parser.marks_generation, ..Template::default() })
}

impl Parser {
    /// Statements up to a tag that begins with one of `ends`, which is the current token then.
    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        let mut body = vec![];
        loop {
            let line = self.cursor.line();
            match self.cursor.peek().clone() {
                Token::Data(text) => {
                    self.cursor.next();
                    body.push(Statement { line, node: Command::Text(text) });
                }
                Token::VariableBegin => {
                    self.cursor.next();
                    let printed = tuple(&mut self.cursor, TupleRules::default())?;
                    self.cursor.expect(Token::VariableEnd)?;
                    body.push(Statement { line, node: Command::Print(printed) });
                }
                Token::BlockBegin => {
                    self.cursor.next();
                    if ends.iter().any(|end| self.cursor.is_word(end)) {
                        return Ok(body);
                    }
                    self.statement(&mut body, ends)?;
                    self.cursor.expect(Token::BlockEnd)?;
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    let looked = ends.join("' or '");
                    return self.cursor.fail(format!(
                        "Unexpected end of template. Jinja was looking for the following tags: '{looked}'."
                    ));
                }
            }
        }
    }

    /// A block's inside, behind its tag.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        self.cursor.skip_sign(":");
        self.cursor.expect(Token::BlockEnd)?;
        self.nest(|parser| parser.statements(ends))
    }

    fn body_to(&mut self, end: &str) -> Result<Vec<Statement>> {
        let body = self.body(&[end])?;
        self.cursor.next();
        Ok(body)
    }

    fn nest<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.cursor.enter()?;
        let parsed = parse(self);
        self.cursor.leave();
        parsed
    }

    fn statement(&mut self, body: &mut Vec<Statement>, ends: &[&str]) -> Result<()> {
        let line = self.cursor.line();
        let Token::Name(tag) = self.cursor.next() else {
            return self.cursor.fail("tag name expected");
        };
        let node = match &*tag {
            "if" => self.if_statement()?,
            "for" => self.for_statement()?,
            "set" => self.set_statement()?,
            "with" => self.with_statement()?,
            "macro" => self.macro_statement()?,
            "call" => self.call_block()?,
            "filter" => {
                let filter = filters(&mut self.cursor, None)?;
                Command::FilterBlock { filter, body: self.body_to("endfilter")?, scope: 0 }
            }
            "autoescape" => {
                let on = expression(&mut self.cursor)?;
                Command::AutoEscape { on, body: self.body_to("endautoescape")?, scope: 0 }
            }
            "generation" => {
                self.marks_generation = true;
                let node =
                    MacroNode { body: self.body_to("endgeneration")?, ..MacroNode::default() };
                Command::Generation(Arc::new(node))
            }
            "block" => self.block_statement()?,
            "break" => Command::Break,
            "continue" => Command::Continue,
            "print" => return self.print_statement(body, line),
            "include" | "import" | "from" | "extends" => self.load_statement(&tag)?,
            unknown => {
                let looked = match ends {
                    [] => String::new(),
                    _ => format!(
                        " Jinja was looking for the following tags: '{}'.",
                        ends.join("' or '")
                    ),
                };
                return super::error::syntax(
                    line,
                    format!("Encountered unknown tag '{unknown}'.{looked}"),
                );
            }
        };
        body.push(Statement { line, node });
        Ok(())
    }

    fn condition(&mut self) -> Result<Expr> {
        let rules = TupleRules { without_condition: true, ..TupleRules::default() };
        tuple(&mut self.cursor, rules)
    }

    fn if_statement(&mut self) -> Result<Command> {
        let (mut branches, mut otherwise) = (vec![], vec![]);
        loop {
            let test = self.condition()?;
            branches.push((test, self.body(&["elif", "else", "endif"])?));
            if self.cursor.skip_word("elif") {
                continue;
            }
            if self.cursor.skip_word("else") {
                otherwise = self.body_to("endif")?;
            } else {
                self.cursor.next();
            }
            return Ok(Command::If { branches, otherwise });
        }
    }

    fn for_statement(&mut self) -> Result<Command> {
        let target = self.target(Some("in"), false)?;
        self.cursor.expect_word("in")?;
        let rules = TupleRules {
            without_condition: true,
            end_word: Some("recursive"),
            ..TupleRules::default()
        };
        let over = tuple(&mut self.cursor, rules)?;
        let test = match self.cursor.skip_word("if") {
            true => Some(expression(&mut self.cursor)?),
            false => None,
        };
        let recursive = self.cursor.skip_word("recursive");
        let body = self.body(&["endfor", "else"])?;
        let otherwise = match self.cursor.skip_word("else") {
            true => self.body_to("endfor")?,
            false => {
                self.cursor.next();
                vec![]
            }
        };
        let (body_scope, test_scope, else_scope) = (0, 0, 0);
        Ok(Command::For(Arc::new(ForNode {
            target,
            over,
            test,
            body,
            otherwise,
            recursive,
            body_scope,
            test_scope,
            else_scope,
        })))
    }

    fn set_statement(&mut self) -> Result<Command> {
        let target = self.target(None, true)?;
        if self.cursor.skip_sign("=") {
            return Ok(Command::Set(target, tuple(&mut self.cursor, TupleRules::default())?));
        }
        let filter = match self.cursor.is_sign("|") {
            true => Some(filters(&mut self.cursor, None)?),
            false => None,
        };
        Ok(Command::SetBlock { target, filter, body: self.body_to("endset")?, scope: 0 })
    }

    fn with_statement(&mut self) -> Result<Command> {
        let (mut targets, mut values) = (vec![], vec![]);
        while *self.cursor.peek() != Token::BlockEnd {
            if !targets.is_empty() {
                self.cursor.expect_sign(",")?;
            }
            targets.push(self.target(None, false)?);
            self.cursor.expect_sign("=")?;
            values.push(expression(&mut self.cursor)?);
        }
        Ok(Command::With { targets, values, body: self.body_to("endwith")?, scope: 0 })
    }

    /// Names to assign to.
    fn target(&mut self, end_word: Option<&str>, with_namespace: bool) -> Result<Target> {
        let (mut targets, mut is_tuple) = (vec![], false);
        loop {
            if !targets.is_empty() {
                self.cursor.expect_sign(",")?;
            }
            let ends = matches!(self.cursor.peek(), Token::VariableEnd | Token::BlockEnd)
                || self.cursor.is_sign(")")
                || end_word.is_some_and(|word| self.cursor.is_word(word));
            if ends {
                break;
            }
            targets.push(self.one_target(with_namespace)?);
            if !self.cursor.is_sign(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, targets.len()) {
            (false, 0) => {
                let got = shown(self.cursor.peek());
                self.cursor.fail(format!("Expected an expression, got '{got}'"))
            }
            (false, _) => Ok(targets.remove(0)),
            _ => Ok(Target::Tuple(targets)),
        }
    }

    fn one_target(&mut self, with_namespace: bool) -> Result<Target> {
        if self.cursor.skip_sign("(") {
            let inside = self.nest(|parser| parser.inner_target())?;
            self.cursor.expect_sign(")")?;
            return Ok(inside);
        }
        let Token::Name(name) = self.cursor.peek().clone() else {
            let got = shown(self.cursor.peek());
            return self.cursor.fail(format!("can't assign to '{got}'"));
        };
        self.cursor.next();
        if literal_of_name(&name).is_some() {
            return self.cursor.fail("can't assign to 'const'");
        }
        if with_namespace && self.cursor.skip_sign(".") {
            return Ok(Target::Namespace(name, self.cursor.expect_name()?));
        }
        Ok(Target::Name(name))
    }

    fn inner_target(&mut self) -> Result<Target> {
        match self.cursor.is_sign(")") {
            true => Ok(Target::Tuple(vec![])),
            false => self.target(None, false),
        }
    }

    fn name_target(&mut self) -> Result<Arc<str>> {
        let name = self.cursor.expect_name()?;
        if literal_of_name(&name).is_some() {
            return self.cursor.fail("can't assign to 'name'");
        }
        Ok(name)
    }

    fn signature(&mut self, node: &mut MacroNode) -> Result<()> {
        self.cursor.expect_sign("(")?;
        while !self.cursor.is_sign(")") {
            if !node.parameters.is_empty() {
                self.cursor.expect_sign(",")?;
            }
            let name = self.name_target()?;
            if node.parameters.contains(&name) {
                return self.cursor.fail(format!("duplicate argument '{name}' in a macro"));
            }
            if self.cursor.skip_sign("=") {
                node.defaults.push(expression(&mut self.cursor)?);
            } else if !node.defaults.is_empty() {
                return self.cursor.fail("non-default argument follows default argument");
            }
            node.parameters.push(name);
        }
        self.cursor.expect_sign(")")
    }

    fn macro_statement(&mut self) -> Result<Command> {
        let mut node = MacroNode { name: Some(self.name_target()?), ..MacroNode::default() };
        self.signature(&mut node)?;
        node.body = self.body_to("endmacro")?;
        Ok(Command::Macro(Arc::new(node)))
    }

    fn call_block(&mut self) -> Result<Command> {
        let mut node = MacroNode::default();
        if self.cursor.is_sign("(") {
            self.signature(&mut node)?;
        }
        let call = expression(&mut self.cursor)?;
        if !matches!(call.node, Node::Call(..)) {
            return self.cursor.fail("expected call");
        }
        node.body = self.body_to("endcall")?;
        Ok(Command::CallBlock { call, node: Arc::new(node) })
    }

    fn block_statement(&mut self) -> Result<Command> {
        let name = self.cursor.expect_name()?;
        let scoped = self.cursor.skip_word("scoped");
        let required = self.cursor.skip_word("required");
        if self.cursor.is_sign("-") {
            return self.cursor.fail("Block names in Jinja may not contain hyphens");
        }
        let body = self.body_to("endblock")?;
        let is_blank = |statement: &Statement| match &statement.node {
            Command::Text(text) => text.chars().all(super::text::is_space),
            _ => false,
        };
        if required && !body.iter().all(is_blank) {
            return self.cursor.fail("Required blocks can only contain comments or whitespace");
        }
        self.cursor.skip_word(&name);
        if self.blocks.contains(&name) {
            return self.cursor.fail(format!("block '{name}' defined twice"));
        }
        self.blocks.push(name.clone());
        Ok(Command::Block(Arc::new(BlockNode { name, body, scoped, required, scope: 0 })))
    }

    fn print_statement(&mut self, body: &mut Vec<Statement>, line: usize) -> Result<()> {
        let mut is_first = true;
        while *self.cursor.peek() != Token::BlockEnd {
            if !is_first {
                self.cursor.expect_sign(",")?;
            }
            is_first = false;
            let printed = expression(&mut self.cursor)?;
            body.push(Statement { line, node: Command::Print(printed) });
        }
        Ok(())
    }

    /// Tags that load another template, of which there is none.
    fn load_statement(&mut self, tag: &str) -> Result<Command> {
        let template = expression(&mut self.cursor)?;
        let mut names = vec![];
        let tag = match tag {
            "include" => {
                if self.cursor.skip_word("ignore") {
                    self.cursor.expect_word("missing")?;
                }
                "include"
            }
            "extends" => "extends",
            "import" => {
                self.cursor.expect_word("as")?;
                names.push(self.name_target()?);
                "import"
            }
            _ => {
                self.cursor.expect_word("import")?;
                self.imported_names(&mut names)?;
                "from"
            }
        };
        if tag != "extends" && (self.cursor.skip_word("with") || self.cursor.skip_word("without")) {
            self.cursor.expect_word("context")?;
        }
        Ok(Command::Load { tag, template, names })
    }

    fn imported_names(&mut self, names: &mut Vec<Arc<str>>) -> Result<()> {
        loop {
            let name = self.name_target()?;
            if name.starts_with('_') {
                return self.cursor.fail("names starting with an underline can not be imported");
            }
            names.push(match self.cursor.skip_word("as") {
                true => self.name_target()?,
                false => name,
            });
            if !self.cursor.skip_sign(",") {
                return Ok(());
            }
        }
    }
}
