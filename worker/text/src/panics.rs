//! A panic inside a call of text_abi.h becomes an error with its message and place, and prints
//! nothing: the caller says what happened, once. Panics elsewhere print as they always did.

use crate::abi::{internal, Failure};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe, Location};
use std::sync::{Mutex, Once, PoisonError};

static HOOK: Once = Once::new();
/// Where a thread of rayon's panicked last; its panic goes on in the thread that waits for it.
static PLACE_IN_POOL: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic, of this thread or of a pool's that works for it, is an error.
pub fn caught<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    HOOK.call_once(install);
    noted();
    let outer = INSIDE.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    outcome.map_err(|panic| failure(&*panic))
}

fn install() {
    let previous = take_hook();
    set_hook(Box::new(move |panic| {
        let place = panic.location().map(short);
        if INSIDE.get() {
            let _ = PLACE.try_with(|noted| noted.replace(place));
        } else if rayon::current_thread_index().is_some() {
            // Only calls of ours give rayon work: the library has a copy of its own.
            *in_pool() = place;
        } else {
            previous(panic);
        }
    }));
}

/// Nothing on a thread that is ending, as the main one is while static objects are destroyed.
fn noted() -> Option<String> {
    PLACE.try_with(RefCell::take).ok().flatten()
}

fn in_pool() -> std::sync::MutexGuard<'static, Option<String>> {
    PLACE_IN_POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// "tokenizers-0.23.2/src/decoders/strip.rs:46:24": without the folder crates lie in here.
fn short(place: &Location) -> String {
    let file = place.file();
    let krate = file.rfind("/src/").map_or(0, |src| file[..src].rfind('/').map_or(0, |i| i + 1));
    format!("{}:{}:{}", &file[krate..], place.line(), place.column())
}

fn failure(panic: &(dyn Any + Send)) -> Failure {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("for a reason that is no text");
    let place = noted().or_else(|| in_pool().take());
    let place = place.map_or(String::new(), |place| format!(" at {place}"));
    internal(format!("the text library panicked{place}: {what}"))
}
