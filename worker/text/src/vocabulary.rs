//! Trains a byte-level BPE tokenizer as GPT-2's is: no normalizer, ByteLevel pre-tokenizer and
//! decoder, all 256 bytes in the alphabet, so that any text can be encoded.
//!
//! The words of all texts are counted first; merges are then chosen by count, ties by the lower pair
//! of ids. Neither depends on the order of texts, on threads, or on hash seeds.

use crate::abi::{internal, invalid, Failure, Outcome};
use ahash::AHashMap;
use compact_str::CompactString;
use rayon::prelude::*;
use tokenizers::models::bpe::{BpeTrainer, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

type WordCounts = AHashMap<CompactString, u64>;

#[derive(Default)]
pub struct Trainer {
    word_counts: WordCounts,
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(
        /*add_prefix_space=*/ false, /*trim_offsets=*/ true, /*use_regex=*/ true,
    )
}

fn count_words(text: &str) -> Outcome<WordCounts> {
    let mut pieces = PreTokenizedString::from(text);
    byte_level().pre_tokenize(&mut pieces).map_err(internal)?;
    let mut counts = WordCounts::new();
    for (word, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(counts.insert(CompactString::from(word), 1)),
        }
    }
    Ok(counts)
}

impl Trainer {
    pub fn feed(&mut self, texts: &[&str]) -> Outcome<()> {
        let counted: Vec<Outcome<WordCounts>> =
            texts.par_iter().map(|text| count_words(text)).collect();
        for counts in counted {
            for (word, count) in counts? {
                *self.word_counts.entry(word).or_default() += count;
            }
        }
        Ok(())
    }

    pub fn finish(
        &self,
        vocab_size: usize,
        min_frequency: u64,
        special_tokens: &[&str],
    ) -> Outcome<Tokenizer> {
        let smallest = 256 + special_tokens.len();
        if vocab_size < smallest {
            return Err(invalid(format!(
                "a vocabulary of {vocab_size} entries is too small: the 256 bytes and \
                 {} special token(s) need {smallest}; ask for at least {smallest}",
                special_tokens.len()
            )));
        }
        let special: Vec<AddedToken> =
            special_tokens.iter().map(|t| AddedToken::from(t.to_string(), true)).collect();
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .min_frequency(min_frequency)
            .special_tokens(special.clone())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut model = BPE::default();
        trainer.do_train(&self.word_counts, &mut model).map_err(internal)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(byte_level()));
        tokenizer.with_decoder(Some(byte_level()));
        tokenizer.add_special_tokens(special).map_err(internal)?;
        let reached = tokenizer.get_vocab_size(true);
        if reached < vocab_size {
            return Err(too_little_text(vocab_size, reached, min_frequency));
        }
        Ok(tokenizer)
    }
}

fn too_little_text(vocab_size: usize, reached: usize, min_frequency: u64) -> Failure {
    invalid(format!(
        "the text supports a vocabulary of {reached} entries, {vocab_size} were asked for (an entry \
         joins two others that stand together at least {min_frequency} times): ask for {reached} or \
         fewer, or give more text"
    ))
}
