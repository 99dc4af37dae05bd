//! What crosses the C boundary (text_abi.h): slices, owned arrays, error codes.

use crate::panics::caught;

pub type Code = i32;
pub const OK: Code = 0;
pub const INVALID: Code = 1;
pub const INTERNAL: Code = 2;
/// A bound was reached: steps, bytes, depth.
pub const LIMIT: Code = 3;
/// The call is right and cannot be answered for this object.
pub const PRECONDITION: Code = 4;

/// An error on its way to the caller. `invalid` is the caller's doing, `internal` a library's.
pub struct Failure {
    pub code: Code,
    pub message: String,
}

pub fn invalid(message: impl ToString) -> Failure {
    Failure { code: INVALID, message: message.to_string() }
}

pub fn internal(message: impl ToString) -> Failure {
    Failure { code: INTERNAL, message: message.to_string() }
}

pub type Outcome<T> = Result<T, Failure>;

/// Memory the caller lends for the length of the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub size: usize,
}

impl Slice {
    /// # Safety
    /// `data` points to `size` bytes that stay unchanged while the result is in use.
    pub unsafe fn text<'a>(self) -> Outcome<&'a str> {
        let bytes = unsafe { array(self.data, self.size) };
        std::str::from_utf8(bytes)
            .map_err(|e| invalid(format!("the text is not UTF-8 at byte {}", e.valid_up_to())))
    }
}

/// # Safety
/// `data` points to `n` elements (or is null and n is 0).
pub unsafe fn array<'a, T>(data: *const T, n: usize) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(data, n) }
}

/// # Safety
/// As for `Slice::text`, for each of them.
pub unsafe fn texts<'a>(data: *const Slice, n: usize) -> Outcome<Vec<&'a str>> {
    unsafe { array(data, n) }.iter().map(|s| unsafe { s.text() }).collect()
}

/// An array given to the caller, who gives it back to be freed.
#[repr(C)]
pub struct Owned<T> {
    data: *mut T,
    size: usize,
}

impl<T> Owned<T> {
    pub fn new(values: Vec<T>) -> Self {
        let values = Box::leak(values.into_boxed_slice());
        Owned { data: values.as_mut_ptr(), size: values.len() }
    }

    /// # Safety
    /// Came from `new` and was not freed before.
    pub unsafe fn free(self) {
        if !self.data.is_null() {
            let values = std::ptr::slice_from_raw_parts_mut(self.data, self.size);
            drop(unsafe { Box::from_raw(values) });
        }
    }
}

pub type Bytes = Owned<u8>;

/// Runs `body`; an error or a panic becomes a code and a message in `*error`.
///
/// # Safety
/// `error` can be written to.
pub unsafe fn guard(error: *mut Bytes, body: impl FnOnce() -> Outcome<()>) -> Code {
    match caught(body).and_then(|outcome| outcome) {
        Ok(()) => OK,
        Err(failure) => {
            unsafe { error.write(Bytes::new(failure.message.into_bytes())) };
            failure.code
        }
    }
}

/// The same for functions without an error channel.
pub fn quiet<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    caught(body).unwrap_or(otherwise)
}

/// Frees what Box::into_raw gave out, once.
pub fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        drop(unsafe { Box::from_raw(pointer) });
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
