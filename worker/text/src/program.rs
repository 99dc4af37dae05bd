//! A compiled template: the engine's instructions and the source they borrow from.

use crate::ast_copy;
use minijinja::machinery::{eval, make_string_output, parse, CodeGenerator, Instructions};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAME: &str = "chat_template";

pub struct Program {
    instructions: Instructions<'static>,
    /// What the instructions point into: declared after them, so dropped after them.
    _source: Arc<str>,
}

impl Program {
    pub fn compile(source: &str) -> Result<Self, Error> {
        let source: Arc<str> = source.into();
        // The text of an Arc stays where it is and unchanged for as long as the Arc lives, and the
        // instructions are dropped first.
        let text: &'static str = unsafe { &*Arc::as_ptr(&source) };
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        let tree = ast_copy::statement(&parse(text, NAME, syntax)?);
        let mut generator = CodeGenerator::new(NAME, text);
        generator.compile_stmt(&tree);
        let (instructions, _) = generator.finish();
        Ok(Program { instructions, _source: source })
    }

    pub fn run(
        &self,
        environment: &Environment<'static>,
        variables: Value,
    ) -> Result<String, Error> {
        let mut text = String::new();
        let blocks = BTreeMap::new();
        eval(
            environment,
            &self.instructions,
            variables,
            &blocks,
            &mut make_string_output(&mut text),
            AutoEscape::None,
        )
        .map(drop)?;
        Ok(text)
    }
}
