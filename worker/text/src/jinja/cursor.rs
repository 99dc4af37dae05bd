//! The parser's place in the tokens, and what may nest how deep.

use super::error::{limit, syntax, Result};
use super::lexer::Token;
use std::sync::Arc;

/// Statements and expressions within each other.
const NESTED_MAX: usize = 150;

pub struct Cursor {
    tokens: Vec<(Token, usize)>,
    at: usize,
    nested: usize,
}

impl Cursor {
    pub fn new(tokens: Vec<(Token, usize)>) -> Self {
        Cursor { tokens, at: 0, nested: 0 }
    }

    pub fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    pub fn second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub fn line(&self) -> usize {
        self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    pub fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if &**name == word)
    }

    pub fn skip_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    pub fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        syntax(self.line(), message)
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        match self.peek() {
            Token::End => self.fail(format!("unexpected end of template, expected '{what}'.")),
            token => self.fail(format!("expected token '{what}', got '{}'", shown(token))),
        }
    }

    pub fn expect_sign(&mut self, sign: &str) -> Result<()> {
        if self.skip_sign(sign) {
            return Ok(());
        }
        self.expected(sign)
    }

    pub fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.skip_word(word) {
            return Ok(());
        }
        self.expected(word)
    }

    pub fn expect(&mut self, token: Token) -> Result<()> {
        if *self.peek() == token {
            self.at += 1;
            return Ok(());
        }
        self.expected(&shown(&token))
    }

    pub fn expect_name(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.expected("name"),
        }
    }

    pub fn enter(&mut self) -> Result<()> {
        self.nested += 1;
        if self.nested > NESTED_MAX {
            let line = self.line();
            return limit(format!(
                "recursion limit: blocks or expressions nested more than {NESTED_MAX} deep at line {line}"
            ));
        }
        Ok(())
    }

    pub fn leave(&mut self) {
        self.nested -= 1;
    }

    /// Parses something that may hold itself.
    pub fn nest<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.enter()?;
        let parsed = parse(self);
        self.leave();
        parsed
    }
}

pub fn shown(token: &Token) -> String {
    match token {
        Token::Data(_) => "template data / text".to_string(),
        Token::VariableBegin => "begin of print statement".to_string(),
        Token::VariableEnd => "end of print statement".to_string(),
        Token::BlockBegin => "begin of statement block".to_string(),
        Token::BlockEnd => "end of statement block".to_string(),
        Token::Name(name) => name.to_string(),
        Token::Text(text) => text.to_string(),
        Token::Int(int) => int.to_string(),
        Token::Float(float) => float.to_string(),
        Token::Sign(sign) => sign.to_string(),
        Token::End => "end of template".to_string(),
    }
}
