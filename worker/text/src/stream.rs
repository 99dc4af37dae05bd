//! Decoding token by token. What is given out is always whole characters, and the parts joined are
//! the decoded whole.

use crate::abi::{internal, Outcome};
use std::sync::Arc;
use tokenizers::Tokenizer;

const REPLACEMENT: char = '\u{FFFD}';
/// Tokens that may wait for a character to become whole. A character has four bytes, so this many
/// waiting tokens are not text: they are given out as U+FFFD.
const WAITING_MAX: usize = 32;

pub struct Stream {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    /// The last whole stretch, kept because some decoders treat a first token differently, then the
    /// tokens that wait.
    window: Vec<u32>,
    whole: usize,
    /// How much of the decoded window was given out.
    given: String,
}

impl Stream {
    pub fn new(tokenizer: Arc<Tokenizer>, skip_special: bool) -> Self {
        Stream { tokenizer, skip_special, window: vec![], whole: 0, given: String::new() }
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub fn step(&mut self, id: u32) -> Outcome<String> {
        self.window.push(id);
        let text = self.decode(&self.window)?;
        let waiting = self.window.len() - self.whole;
        // A special token left out adds nothing: what stands before it stays the context.
        if text == self.given && waiting <= WAITING_MAX {
            return Ok(String::new());
        }
        let settled = text.trim_end_matches(REPLACEMENT);
        if settled.len() == text.len() || waiting > WAITING_MAX {
            return self.give_all(text);
        }
        let new = settled.strip_prefix(self.given.as_str()).unwrap_or("").to_string();
        self.given.push_str(&new);
        Ok(new)
    }

    /// What still waits, as U+FFFD where it is not text.
    pub fn finish(&mut self) -> Outcome<String> {
        let text = self.decode(&self.window)?;
        let rest = text.strip_prefix(self.given.as_str()).unwrap_or("").to_string();
        self.window.clear();
        self.whole = 0;
        self.given.clear();
        Ok(rest)
    }

    fn give_all(&mut self, text: String) -> Outcome<String> {
        let new = text.strip_prefix(self.given.as_str()).unwrap_or("").to_string();
        self.window.drain(..self.whole);
        self.whole = self.window.len();
        self.given = self.decode(&self.window)?;
        Ok(new)
    }

    fn decode(&self, ids: &[u32]) -> Outcome<String> {
        self.tokenizer.decode(ids, self.skip_special).map_err(internal)
    }
}
