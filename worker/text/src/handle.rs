//! A loaded tokenizer as the ABI holds it.

use crate::abi::{internal, invalid, Outcome};
use std::sync::{Arc, OnceLock};
use tokenizers::{DecoderWrapper, ModelWrapper, Tokenizer};

/// Two tokenizers of one file, because whether special tokens are recognised in text is a setting of
/// the tokenizer and not of a call. The second is made when it is asked for: a copy of the vocabulary
/// takes as long as a fifth of reading it.
pub struct Handle {
    pub parsing: Arc<Tokenizer>,
    plain: OnceLock<Tokenizer>,
}

impl Handle {
    pub fn new(mut tokenizer: Tokenizer) -> Outcome<Box<Self>> {
        // Lengths are the loader's business; a file may bring settings of its own.
        tokenizer.with_truncation(None).map_err(internal)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(false);
        Ok(Box::new(Handle { parsing: Arc::new(tokenizer), plain: OnceLock::new() }))
    }

    pub fn encoder(&self, parse_special: bool) -> &Tokenizer {
        if parse_special {
            return &self.parsing;
        }
        self.plain.get_or_init(|| {
            let mut plain = Tokenizer::clone(&self.parsing);
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    /// The largest id and one. Where the ids below the number of tokens all have one, no token is
    /// left for a larger id; only a vocabulary with holes has to be copied to be looked through.
    pub fn vocab_size(&self) -> usize {
        let tokens = self.parsing.get_vocab_size(true);
        if (0..tokens as u32).all(|id| self.parsing.id_to_token(id).is_some()) {
            return tokens;
        }
        self.parsing.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }

    pub fn token_sizes(&self) -> Outcome<Vec<u32>> {
        let added = self.parsing.get_added_tokens_decoder();
        let spelling = Spelling::of(&self.parsing);
        let mut sizes = vec![0; self.vocab_size()];
        for (token, id) in self.parsing.get_vocab(true) {
            let size = match added.get(&id) {
                Some(added) if added.special => 0,
                Some(added) => spelling.size_of_added(&added.content),
                None => spelling.size_of(&token),
            };
            sizes[id as usize] = size as u32;
        }
        Ok(sizes)
    }
}

/// How a vocabulary spells text.
enum Spelling {
    /// Each byte is one character.
    Bytes,
    /// "##" before what continues a word.
    WordPiece(String),
    /// "▁" is a space, "<0x0A>" a byte.
    SentencePiece,
}

impl Spelling {
    fn of(tokenizer: &Tokenizer) -> Self {
        match (tokenizer.get_decoder(), tokenizer.get_model()) {
            (Some(DecoderWrapper::ByteLevel(_)), _) => Spelling::Bytes,
            (_, ModelWrapper::WordPiece(model)) => {
                Spelling::WordPiece(model.continuing_subword_prefix.clone())
            }
            _ => Spelling::SentencePiece,
        }
    }

    /// Added tokens are spelled as they are read, but decoders turn SentencePiece's space in them too.
    fn size_of_added(&self, token: &str) -> usize {
        match self {
            Spelling::SentencePiece => self.size_of(token),
            _ => token.len(),
        }
    }

    fn size_of(&self, token: &str) -> usize {
        match self {
            Spelling::Bytes => token.chars().count(),
            Spelling::WordPiece(prefix) => {
                token.strip_prefix(prefix.as_str()).unwrap_or(token).len()
            }
            Spelling::SentencePiece => {
                let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                match byte.map(|hex| u8::from_str_radix(hex, 16)) {
                    Some(Ok(_)) => 1,
                    _ => token.len() - 2 * token.matches('▁').count(), // of three bytes, for one
                }
            }
        }
    }
}

/// Decoders leave out ids they do not know; that would hide a mix-up of tokenizers.
pub fn check_ids(tokenizer: &Tokenizer, ids: &[u32]) -> Outcome<()> {
    match ids.iter().find(|id| tokenizer.id_to_token(**id).is_none()) {
        Some(id) => Err(invalid(format!(
            "no token has the id {id}: the vocabulary has {} entries; were the ids made by another \
             tokenizer?",
            tokenizer.get_vocab_size(true)
        ))),
        None => Ok(()),
    }
}
