//! A tokenizer out of its tokenizer.json. The crate reads a BPE model by way of a buffer of all its
//! values, a tree of them and another buffer, some hundred thousand allocations for which `generate`
//! waits; here its two long lists go from the text into the model. What this does not know (another
//! model, merges as "a b", anything odd) the crate reads, whose errors are thus the errors.

use ahash::AHashMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokenizers::models::bpe::{BpeBuilder, BPE};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams,
    PostProcessorWrapper, PreTokenizerWrapper, Result, Tokenizer, TokenizerBuilder,
    TruncationParams,
};

pub fn tokenizer_of(json: &str) -> Result<Tokenizer> {
    match serde_json::from_str::<File>(json).ok().and_then(File::tokenizer) {
        Some(tokenizer) => Ok(tokenizer),
        None => Tokenizer::from_bytes(json),
    }
}

#[derive(Deserialize)]
struct File<'a> {
    version: String,
    #[serde(rename = "truncation")]
    _truncation: Option<TruncationParams>, // read to be checked: lengths are the caller's business
    #[serde(rename = "padding")]
    _padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<AddedTokenWithId>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: &'a RawValue,
}

/// Its id is the model's, or the next free one; the crate does not take it from here either.
#[derive(Deserialize)]
struct AddedTokenWithId {
    #[serde(rename = "id")]
    _id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct BpeFile {
    #[serde(rename = "type")]
    kind: String,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: AHashMap<String, u32>,
    merges: Vec<(String, String)>,
}

impl File<'_> {
    fn tokenizer(self) -> Option<Tokenizer> {
        if self.version != "1.0" {
            return None;
        }
        let bpe = serde_json::from_str::<BpeFile>(self.model.get()).ok()?.model()?;
        let built = TokenizerBuilder::new()
            .with_model(ModelWrapper::BPE(bpe))
            .with_normalizer(self.normalizer)
            .with_pre_tokenizer(self.pre_tokenizer)
            .with_post_processor(self.post_processor)
            .with_decoder(self.decoder)
            .build();
        let mut tokenizer = Tokenizer::from(built.ok()?);
        tokenizer.add_tokens(self.added_tokens.into_iter().map(|added| added.token)).ok()?;
        Some(tokenizer)
    }
}

impl BpeFile {
    fn model(self) -> Option<BPE> {
        if self.kind != "BPE" {
            return None;
        }
        let mut builder = BpeBuilder::new()
            .vocab_and_merges(self.vocab, self.merges)
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(dropout) = self.dropout {
            builder = builder.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build().ok()
    }
}
