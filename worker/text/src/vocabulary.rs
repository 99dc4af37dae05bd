//! Trains tokenizers. The words of all texts are counted first (words.rs says what a word is); the
//! trainers then see words in a fixed order, so that nothing depends on the order of texts, on how
//! they were cut, on threads, or on hash seeds.

use crate::abi::{internal, invalid, Outcome};
use crate::unigram;
use crate::words::{count_words, Kind, TextRules, WordCounts};
use ahash::AHashMap;
use compact_str::CompactString;
use rayon::prelude::*;
use std::collections::BTreeSet;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BpeTrainer, BPE};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

const CONTINUES: &str = "##";
/// A longer word is unknown, as in BERT.
const WORD_CHARACTERS_MAX: usize = 100;

pub struct Trainer {
    rules: TextRules,
    word_counts: WordCounts,
}

/// What a vocabulary is to be like.
pub struct Wanted<'a> {
    pub vocab_size: usize,
    pub min_frequency: u64,
    /// WordPiece and Unigram: the most frequent characters that are kept; words with others are not
    /// learnt from.
    pub alphabet_size: usize,
    pub special_tokens: &'a [&'a str],
}

impl Wanted<'_> {
    fn added_tokens(&self) -> Vec<AddedToken> {
        self.special_tokens.iter().map(|t| AddedToken::from(t.to_string(), true)).collect()
    }

    /// `smallest` are the entries that any text needs.
    pub fn check_holds(&self, smallest: usize, what: &str) -> Outcome<()> {
        if self.vocab_size >= smallest {
            return Ok(());
        }
        Err(invalid(format!(
            "a vocabulary of {} entries is too small: {what} and {} special token(s) need {smallest}; \
             ask for at least {smallest}",
            self.vocab_size,
            self.special_tokens.len()
        )))
    }
}

impl Trainer {
    pub fn new(rules: TextRules) -> Self {
        Trainer { rules, word_counts: WordCounts::new() }
    }

    pub fn feed(&mut self, texts: &[&str]) -> Outcome<()> {
        let rules = &self.rules;
        let counted: Vec<Outcome<WordCounts>> =
            texts.par_iter().map(|text| count_words(rules, text)).collect();
        for counts in counted {
            for (word, count) in counts? {
                *self.word_counts.entry(word).or_default() += count;
            }
        }
        Ok(())
    }

    pub fn finish(&self, wanted: &Wanted) -> Outcome<Tokenizer> {
        let mut tokenizer = match self.rules.kind {
            Kind::Bpe => self.byte_level(wanted)?,
            Kind::WordPiece => self.word_piece(wanted)?,
            Kind::Unigram => unigram::train(&self.words(wanted.alphabet_size), wanted)?,
        };
        tokenizer.add_special_tokens(wanted.added_tokens()).map_err(internal)?;
        Ok(tokenizer)
    }

    /// GPT-2's: no normalizer, ByteLevel pre-tokenizer and decoder, all 256 bytes in the alphabet, so
    /// that any text can be encoded. Merges go by count, ties by the lower pair of ids.
    fn byte_level(&self, wanted: &Wanted) -> Outcome<Tokenizer> {
        wanted.check_holds(256 + wanted.special_tokens.len(), "the 256 bytes")?;
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(wanted.vocab_size)
            .min_frequency(wanted.min_frequency)
            .special_tokens(wanted.added_tokens())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut model = BPE::default();
        trainer.do_train(&self.word_counts, &mut model).map_err(internal)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(crate::words::byte_level()));
        tokenizer.with_decoder(Some(crate::words::byte_level()));
        Ok(tokenizer)
    }

    /// BERT's: ids are the special tokens, the letters that begin a word, those that continue one
    /// ("##x"), then what merges make, most frequent pairs first. The crate would number the second
    /// kind as its hash map gives them; named as special tokens they have a fixed order.
    fn word_piece(&self, wanted: &Wanted) -> Outcome<Tokenizer> {
        let words = self.words(wanted.alphabet_size);
        let alphabet: BTreeSet<char> = words.keys().flat_map(|word| word.chars()).collect();
        let continuing: BTreeSet<char> =
            words.keys().flat_map(|word| word.chars().skip(1)).collect();
        let smallest = wanted.special_tokens.len() + alphabet.len() + continuing.len();
        wanted.check_holds(smallest, "the letters that begin and continue words")?;
        let first = alphabet.iter().map(char::to_string);
        let later = continuing.iter().map(|c| format!("{CONTINUES}{c}"));
        let fixed = wanted.special_tokens.iter().map(|t| t.to_string()).chain(first).chain(later);
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(wanted.vocab_size)
            .min_frequency(wanted.min_frequency)
            .special_tokens(fixed.map(|token| AddedToken::from(token, false)).collect())
            .continuing_subword_prefix(CONTINUES.to_string())
            .build();
        let mut merged = BPE::default();
        trainer.do_train(&words, &mut merged).map_err(internal)?;
        let vocabulary: AHashMap<String, u32> = merged.get_vocab().into_iter().collect();
        let around = bert_template(&vocabulary)?;
        let model = WordPiece::builder()
            .vocab(vocabulary)
            .unk_token("[UNK]".to_string())
            .continuing_subword_prefix(CONTINUES.to_string())
            .max_input_chars_per_word(WORD_CHARACTERS_MAX)
            .build()
            .map_err(internal)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer(Some(self.rules.bert_normalizer())).map_err(internal)?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.with_post_processor(Some(around));
        tokenizer.with_decoder(Some(WordPieceDecoder::default()));
        Ok(tokenizer)
    }

    /// The words whose characters are all among the most frequent ones; ties by the lower character.
    fn words(&self, alphabet_size: usize) -> WordCounts {
        let mut seen: AHashMap<char, u64> = AHashMap::new();
        for (word, count) in &self.word_counts {
            for c in word.chars() {
                *seen.entry(c).or_default() += count;
            }
        }
        if seen.len() <= alphabet_size {
            return self.word_counts.clone();
        }
        let mut ranked: Vec<(u64, char)> = seen.into_iter().map(|(c, n)| (n, c)).collect();
        ranked.sort_unstable_by_key(|&(count, c)| (std::cmp::Reverse(count), c));
        let kept: BTreeSet<char> = ranked[..alphabet_size].iter().map(|&(_, c)| c).collect();
        let all_kept = |word: &CompactString| word.chars().all(|c| kept.contains(&c));
        let words = self.word_counts.iter().filter(|(word, _)| all_kept(word));
        words.map(|(word, count)| (word.clone(), *count)).collect()
    }
}

/// `[CLS] text [SEP]`, and `[CLS] first [SEP] second [SEP]` for pairs.
fn bert_template(vocabulary: &AHashMap<String, u32>) -> Outcome<TemplateProcessing> {
    let id = |name: &str| {
        vocabulary.get(name).copied().ok_or_else(|| {
            invalid(format!("a WordPiece tokenizer needs {name} among its special tokens"))
        })
    };
    id("[UNK]")?;
    let special = vec![("[CLS]".to_string(), id("[CLS]")?), ("[SEP]".to_string(), id("[SEP]")?)];
    TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .map_err(internal)?
        .try_pair("[CLS] $A [SEP] $B:1 [SEP]:1")
        .map_err(internal)?
        .special_tokens(special)
        .build()
        .map_err(internal)
}
