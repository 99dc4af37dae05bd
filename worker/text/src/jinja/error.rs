//! What ends a rendering early, and the meter that counts its work.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The source is no template.
    Syntax,
    /// What Python or Jinja would raise.
    Runtime,
    /// A bound was reached: steps, bytes, depth.
    Limit,
}

#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub line: Option<usize>,
}

pub type Result<T> = std::result::Result<T, Error>;

pub fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error { kind: Kind::Runtime, message: message.into(), line: None })
}

pub fn syntax<T>(line: usize, message: impl Into<String>) -> Result<T> {
    Err(Error { kind: Kind::Syntax, message: message.into(), line: Some(line) })
}

pub fn limit<T>(message: impl Into<String>) -> Result<T> {
    Err(Error { kind: Kind::Limit, message: message.into(), line: None })
}

/// Steps that are left. 64 bytes of text made or read count as one, as do the parts of containers.
#[derive(Debug)]
pub struct Meter {
    left: Cell<u64>,
    all: u64,
}

impl Meter {
    pub fn new(steps: u64) -> Self {
        Meter { left: Cell::new(steps), all: steps }
    }

    pub fn spend(&self, steps: u64) -> Result<()> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => limit(format!(
                "the template did not end within {} steps (64 bytes of text made count as one): it \
                 loops or recurses, or the conversation is too long for it",
                self.all
            )),
        }
    }

    pub fn text(&self, bytes: usize) -> Result<()> {
        self.spend(bytes as u64 / 64 + 1)
    }

    /// A text of `count` times `bytes`, before it is made.
    pub fn repeated(&self, bytes: usize, count: usize) -> Result<()> {
        self.spend((bytes as u64).saturating_mul(count as u64) / 64 + 1)
    }
}
