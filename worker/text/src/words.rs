//! What a word is to a trainer: the text after normalizer and pre-tokenizer. Cutting a text before a
//! space or newline that follows a letter changes no word of any kind.

use crate::abi::{internal, Outcome};
use ahash::AHashMap;
use compact_str::CompactString;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior,
};

pub type WordCounts = AHashMap<CompactString, u64>;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Bpe,
    WordPiece,
    Unigram,
}

#[derive(Clone, Copy)]
pub struct TextRules {
    pub kind: Kind,
    /// WordPiece only.
    pub lowercase: bool,
    pub strip_accents: Option<bool>,
    pub split_chinese: bool,
}

impl TextRules {
    pub fn bert_normalizer(&self) -> BertNormalizer {
        let clean_text = true;
        BertNormalizer::new(clean_text, self.split_chinese, self.strip_accents, self.lowercase)
    }
}

pub fn byte_level() -> ByteLevel {
    ByteLevel::new(
        /*add_prefix_space=*/ false, /*trim_offsets=*/ true, /*use_regex=*/ true,
    )
}

/// Unigram's: a word takes the space before it along, as "▁", and ends at a newline.
pub fn unigram_pre_tokenizer() -> Outcome<Sequence> {
    let lines = Split::new(
        SplitPattern::String("\n".to_string()),
        SplitDelimiterBehavior::Isolated,
        /*invert=*/ false,
    )
    .map_err(internal)?;
    let spaces = Metaspace::new('▁', PrependScheme::Never, /*split=*/ true);
    Ok(Sequence::new(vec![lines.into(), spaces.into()]))
}

pub fn count_words(rules: &TextRules, text: &str) -> Outcome<WordCounts> {
    let mut pieces = match rules.kind {
        Kind::WordPiece => {
            let mut normalized = NormalizedString::from(text);
            rules.bert_normalizer().normalize(&mut normalized).map_err(internal)?;
            PreTokenizedString::from(normalized)
        }
        _ => PreTokenizedString::from(text),
    };
    match rules.kind {
        Kind::Bpe => byte_level().pre_tokenize(&mut pieces),
        Kind::WordPiece => BertPreTokenizer.pre_tokenize(&mut pieces),
        Kind::Unigram => unigram_pre_tokenizer()?.pre_tokenize(&mut pieces),
    }
    .map_err(internal)?;
    let mut counts = WordCounts::new();
    for (word, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(counts.insert(CompactString::from(word), 1)),
        }
    }
    Ok(counts)
}
