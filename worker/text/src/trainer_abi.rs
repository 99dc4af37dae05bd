//! The functions of text_abi.h that train a tokenizer.

use crate::abi::{free, guard, quiet, texts, Bytes, Code, Slice};
use crate::handle::Handle;
use crate::vocabulary::{Trainer, Wanted};
use crate::words::{Kind, TextRules};
use std::ptr::null_mut;

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
