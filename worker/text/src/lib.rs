//! Text to tokens and back for the trainer: Hugging Face `tokenizers` behind the C ABI of
//! text_abi.h, which says what each function promises. Chat templates: chat_abi.rs.

mod abi;
mod ast_copy;
mod chat;
mod chat_abi;
mod generation;
mod moment;
mod names;
mod panics;
mod program;
mod python;
mod sized;
mod source;
mod stream;
mod tojson;
mod unigram;
mod vocabulary;
mod words;

use abi::{
    array, free, guard, internal, invalid, quiet, texts, Bytes, Code, Outcome, Owned, Slice,
};
use std::ptr::null_mut;
use std::sync::Arc;
use stream::Stream;
use tokenizers::{DecoderWrapper, Encoding, ModelWrapper, Tokenizer};
use vocabulary::{Trainer, Wanted};
use words::{Kind, TextRules};

const ADD_SPECIAL: u32 = 1;
const PARSE_SPECIAL: u32 = 2;
const SKIP_SPECIAL: u32 = 4;

/// Two tokenizers of one file, because whether special tokens are recognised in text is a setting of
/// the tokenizer and not of a call.
pub struct Handle {
    parsing: Arc<Tokenizer>,
    plain: Tokenizer,
}

impl Handle {
    fn new(mut tokenizer: Tokenizer) -> Outcome<Box<Self>> {
        // Lengths are the loader's business; a file may bring settings of its own.
        tokenizer.with_truncation(None).map_err(internal)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(false);
        let mut plain = tokenizer.clone();
        plain.set_encode_special_tokens(true);
        Ok(Box::new(Handle { parsing: Arc::new(tokenizer), plain }))
    }

    fn encoder(&self, flags: u32) -> &Tokenizer {
        if flags & PARSE_SPECIAL != 0 {
            &self.parsing
        } else {
            &self.plain
        }
    }

    fn vocab_size(&self) -> usize {
        self.parsing.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }

    fn token_sizes(&self) -> Outcome<Vec<u32>> {
        let added = self.parsing.get_added_tokens_decoder();
        let spelling = Spelling::of(&self.parsing);
        let mut sizes = vec![0; self.vocab_size()];
        for (token, id) in self.parsing.get_vocab(true) {
            let size = match added.get(&id) {
                Some(added) if added.special => 0,
                Some(added) => added.content.len(),
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

#[no_mangle]
pub unsafe extern "C" fn ty_bytes_free(bytes: Bytes) {
    quiet((), || unsafe { bytes.free() })
}

#[no_mangle]
pub unsafe extern "C" fn ty_ids_free(ids: Owned<u32>) {
    quiet((), || unsafe { ids.free() })
}

#[no_mangle]
pub unsafe extern "C" fn ty_sizes_free(sizes: Owned<usize>) {
    quiet((), || unsafe { sizes.free() })
}

/// The rules of text_abi.h.
#[repr(C)]
pub struct CTextRules {
    kind: i32,
    lowercase: i32,
    strip_accents: i32,
    split_chinese: i32,
}

#[no_mangle]
pub extern "C" fn ty_trainer_new(rules: CTextRules) -> *mut Trainer {
    quiet(null_mut(), || {
        let rules = TextRules {
            kind: match rules.kind {
                0 => Kind::Bpe,
                1 => Kind::WordPiece,
                2 => Kind::Unigram,
                _ => return null_mut(),
            },
            lowercase: rules.lowercase != 0,
            strip_accents: (rules.strip_accents >= 0).then_some(rules.strip_accents > 0),
            split_chinese: rules.split_chinese != 0,
        };
        Box::into_raw(Box::new(Trainer::new(rules)))
    })
}

#[no_mangle]
pub unsafe extern "C" fn ty_trainer_free(trainer: *mut Trainer) {
    quiet((), || free(trainer))
}

#[no_mangle]
pub unsafe extern "C" fn ty_trainer_feed(
    trainer: *mut Trainer,
    data: *const Slice,
    n: usize,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe { (*trainer).feed(&texts(data, n)?) };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_trainer_finish(
    trainer: *mut Trainer,
    vocab_size: usize,
    min_frequency: u64,
    alphabet_size: usize,
    special_tokens: *const Slice,
    n: usize,
    out: *mut *mut Handle,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let special_tokens = &texts(special_tokens, n)?;
        let wanted = Wanted { vocab_size, min_frequency, alphabet_size, special_tokens };
        let tokenizer = (*trainer).finish(&wanted)?;
        out.write(Box::into_raw(Handle::new(tokenizer)?));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_load(
    json: Slice,
    out: *mut *mut Handle,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let tokenizer = Tokenizer::from_bytes(json.text()?)
            .map_err(|e| invalid(format!("this is not a Hugging Face tokenizer.json: {e}")))?;
        out.write(Box::into_raw(Handle::new(tokenizer)?));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_free(handle: *mut Handle) {
    quiet((), || free(handle))
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_json(
    handle: *const Handle,
    out: *mut Bytes,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let json = (*handle).parsing.to_string(/*pretty=*/ true).map_err(internal)?;
        out.write(Owned::new(json.into_bytes()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_vocab_size(handle: *const Handle) -> usize {
    quiet(0, || unsafe { (*handle).vocab_size() })
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_token_to_id(
    handle: *const Handle,
    token: Slice,
    id: *mut u32,
) -> i32 {
    quiet(0, || unsafe {
        let found = token.text().ok().and_then(|token| (*handle).parsing.token_to_id(token));
        found.map_or(0, |found| {
            id.write(found);
            1
        })
    })
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_id_to_token(
    handle: *const Handle,
    id: u32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        check_ids(&(*handle).parsing, &[id])?;
        let token = (*handle).parsing.id_to_token(id).unwrap_or_default();
        out.write(Owned::new(token.into_bytes()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_token_sizes(
    handle: *const Handle,
    out: *mut Owned<u32>,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        out.write(Owned::new((*handle).token_sizes()?));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_encode(
    handle: *const Handle,
    data: *const Slice,
    n: usize,
    flags: u32,
    ids: *mut Owned<u32>,
    ends: *mut Owned<usize>,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let texts = texts(data, n)?;
        let encodings = (*handle)
            .encoder(flags)
            .encode_batch_fast(texts, flags & ADD_SPECIAL != 0)
            .map_err(internal)?;
        let total = encodings.iter().map(Encoding::len).sum();
        let mut all = Vec::with_capacity(total);
        let mut text_ends = Vec::with_capacity(n);
        for encoding in &encodings {
            all.extend_from_slice(encoding.get_ids());
            text_ends.push(all.len());
        }
        ids.write(Owned::new(all));
        ends.write(Owned::new(text_ends));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_encode_offsets(
    handle: *const Handle,
    text: Slice,
    flags: u32,
    ids: *mut Owned<u32>,
    offsets: *mut Owned<usize>,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let text = text.text()?;
        let encoding =
            (*handle).encoder(flags).encode(text, flags & ADD_SPECIAL != 0).map_err(internal)?;
        let pairs = encoding.get_offsets().iter().flat_map(|(begin, end)| [*begin, *end]);
        ids.write(Owned::new(encoding.get_ids().to_vec()));
        offsets.write(Owned::new(pairs.collect()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_decode(
    handle: *const Handle,
    ids: *const u32,
    n: usize,
    flags: u32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let ids = array(ids, n);
        check_ids(&(*handle).parsing, ids)?;
        let skip_special = flags & SKIP_SPECIAL != 0;
        let text = (*handle).parsing.decode(ids, skip_special).map_err(internal)?;
        out.write(Owned::new(text.into_bytes()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_stream_new(handle: *const Handle, flags: u32) -> *mut Stream {
    quiet(null_mut(), || unsafe {
        let stream = Stream::new((*handle).parsing.clone(), flags & SKIP_SPECIAL != 0);
        Box::into_raw(Box::new(stream))
    })
}

#[no_mangle]
pub unsafe extern "C" fn ty_stream_free(stream: *mut Stream) {
    quiet((), || free(stream))
}

#[no_mangle]
pub unsafe extern "C" fn ty_stream_step(
    stream: *mut Stream,
    id: u32,
    out: *mut Bytes,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        check_ids((*stream).tokenizer(), &[id])?;
        out.write(Owned::new((*stream).step(id)?.into_bytes()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_stream_finish(
    stream: *mut Stream,
    out: *mut Bytes,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        out.write(Owned::new((*stream).finish()?.into_bytes()));
        Ok(())
    };
    unsafe { guard(error, body) }
}

/// Decoders leave out ids they do not know; that would hide a mix-up of tokenizers.
fn check_ids(tokenizer: &Tokenizer, ids: &[u32]) -> Outcome<()> {
    match ids.iter().find(|id| tokenizer.id_to_token(**id).is_none()) {
        Some(id) => Err(invalid(format!(
            "no token has the id {id}: the vocabulary has {} entries; were the ids made by another \
             tokenizer?",
            tokenizer.get_vocab_size(true)
        ))),
        None => Ok(()),
    }
}
