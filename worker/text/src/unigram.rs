//! Unigram training (Kudo 2018, arXiv:1804.10959) with byte fallback, so that any text can be encoded:
//! ids are the special tokens, "<unk>", the 256 bytes, then pieces, the most likely first.
//!
//! The crate's trainer sums floats on as many threads as there are and walks hash sets. Here it has
//! one thread and words in order, and what it leaves to a hash set is put in order afterwards.

use crate::abi::{internal, Outcome};
use crate::vocabulary::Wanted;
use crate::words::{unigram_pre_tokenizer, WordCounts};
use std::collections::BTreeSet;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::models::unigram::{Unigram, UnigramTrainerBuilder};
use tokenizers::normalizers::replace::Replace;
use tokenizers::Tokenizer;

const UNKNOWN: &str = "<unk>";
const BYTES: usize = 256;
/// Longer stretches without a space are learnt from in parts of this many characters.
const WORD_CHARACTERS_MAX: usize = 512;
/// Counts add up in 32 bits.
const COUNTS_MAX: u64 = 1 << 31;
/// No text is taken for a special token or a byte's: spelled in letters it is always likelier, which
/// is why their letters are always there.
const NO_TEXT: f64 = -10_000.0;
const BYTE_SPELLING: &str = "<0x123456789ABCDEF>";
/// What the crate adds to the lowest score for each letter that lost its own.
const PENALTY_STEP: f64 = 0.0001;

pub fn train(words: &WordCounts, wanted: &Wanted) -> Outcome<Tokenizer> {
    let has_unknown = wanted.special_tokens.contains(&UNKNOWN);
    let fixed = wanted.special_tokens.len() + usize::from(!has_unknown) + BYTES;
    let names = wanted.special_tokens.iter().chain([&UNKNOWN, &BYTE_SPELLING]);
    let spelling: BTreeSet<char> = names.flat_map(|name| name.chars()).collect();
    let letters: BTreeSet<char> =
        words.keys().flat_map(|word| word.chars()).chain(spelling.iter().copied()).collect();
    let what = format!("the 256 bytes, \"{UNKNOWN}\", {} letter(s)", letters.len());
    wanted.check_holds(fixed + letters.len(), &what)?;
    let pieces = pieces_of(sentences_of(words), spelling, wanted.vocab_size - fixed)?;
    let mut vocabulary: Vec<(String, f64)> =
        wanted.special_tokens.iter().map(|token| (token.to_string(), NO_TEXT)).collect();
    if !has_unknown {
        vocabulary.push((UNKNOWN.to_string(), NO_TEXT));
    }
    let unknown_id = vocabulary.iter().position(|(token, _)| token == UNKNOWN);
    vocabulary.extend((0..BYTES).map(|byte| (format!("<0x{byte:02X}>"), NO_TEXT)));
    vocabulary.extend(pieces);
    let model = Unigram::from(vocabulary, unknown_id, /*byte_fallback=*/ true).map_err(internal)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(unigram_pre_tokenizer()?));
    let spaces = Replace::new("▁", " ").map_err(internal)?;
    tokenizer.with_decoder(Some(Decoders::new(vec![
        spaces.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ])));
    Ok(tokenizer)
}

/// Words in order, in parts that are not too long, with counts whose sum fits.
fn sentences_of(words: &WordCounts) -> Vec<(String, u32)> {
    let total: u64 = words.values().sum();
    let divisor = total.div_ceil(COUNTS_MAX).max(1);
    let mut sentences = vec![];
    for (word, count) in words {
        let count = u32::try_from(count.div_ceil(divisor)).unwrap_or(u32::MAX);
        let characters: Vec<char> = word.chars().collect();
        for part in characters.chunks(WORD_CHARACTERS_MAX) {
            sentences.push((part.iter().collect(), count));
        }
    }
    sentences.sort_unstable();
    sentences
}

fn pieces_of(
    sentences: Vec<(String, u32)>,
    letters: BTreeSet<char>,
    size: usize,
) -> Outcome<Vec<(String, f64)>> {
    if sentences.is_empty() {
        return Ok(vec![]);
    }
    let trainer = UnigramTrainerBuilder::default()
        .show_progress(false)
        .initial_alphabet(letters.into_iter().collect())
        .vocab_size(u32::try_from(size).map_err(internal)?)
        .build()
        .map_err(internal)?;
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(internal)?;
    let mut model = Unigram::default();
    one_thread.install(|| trainer.do_train(sentences, &mut model)).map_err(internal)?;
    Ok(in_order(model.iter().cloned().collect()))
}

/// Letters that the pieces did not hold have the lowest score plus 0, 1, 2, ... steps, given out in
/// the order of a hash set: here in the order of letters. Equal scores then go by the piece.
fn in_order(mut pieces: Vec<(String, f64)>) -> Vec<(String, f64)> {
    let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let is_letter = |piece: &str| piece.chars().count() == 1;
    let (mut penalty, mut given) = (0.0, vec![]);
    loop {
        let at = |score: f64| score == lowest + penalty;
        let holders = pieces.iter().filter(|(p, score)| is_letter(p) && at(*score)).count();
        if holders == 0 {
            break;
        }
        given.extend(std::iter::repeat_n(lowest + penalty, holders));
        penalty += PENALTY_STEP;
    }
    let mut holders: Vec<&mut (String, f64)> =
        pieces.iter_mut().filter(|(p, score)| is_letter(p) && given.contains(score)).collect();
    holders.sort_by(|a, b| a.0.cmp(&b.0));
    for (holder, score) in holders.into_iter().zip(given) {
        holder.1 = score;
    }
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    pieces
}
