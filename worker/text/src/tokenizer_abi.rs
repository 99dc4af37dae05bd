//! The tokenizer functions of text_abi.h, with those that decode token by token.

use crate::abi::{array, free, guard, internal, invalid, quiet, texts, Bytes, Code, Owned, Slice};
use crate::handle::{check_ids, Handle};
use crate::load::tokenizer_of;
use crate::stream::Stream;
use std::ptr::null_mut;
use tokenizers::Encoding;

const ADD_SPECIAL: u32 = 1;
const PARSE_SPECIAL: u32 = 2;
const SKIP_SPECIAL: u32 = 4;

#[no_mangle]
pub unsafe extern "C" fn ty_tokenizer_load(
    json: Slice,
    out: *mut *mut Handle,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let tokenizer = tokenizer_of(json.text()?)
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
            .encoder(flags & PARSE_SPECIAL != 0)
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
        let encoding = (*handle)
            .encoder(flags & PARSE_SPECIAL != 0)
            .encode(text, flags & ADD_SPECIAL != 0)
            .map_err(internal)?;
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
