//! The chat-template functions of text_abi.h.

use crate::abi::{free, guard, quiet, Bytes, Code, Owned, Slice};
use crate::chat::{ChatTemplate, Conversation, Limits};

const GENERATION_PROMPT: u32 = 1;
const SPANS: u32 = 2;

#[no_mangle]
pub unsafe extern "C" fn ty_template_compile(
    source: Slice,
    limits: Limits,
    out: *mut *mut ChatTemplate,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let template = ChatTemplate::compile(source.text()?, limits)?;
        out.write(Box::into_raw(Box::new(template)));
        Ok(())
    };
    unsafe { guard(error, body) }
}

#[no_mangle]
pub unsafe extern "C" fn ty_template_free(template: *mut ChatTemplate) {
    quiet((), || free(template))
}

#[no_mangle]
pub unsafe extern "C" fn ty_template_marks_generation(template: *const ChatTemplate) -> i32 {
    quiet(0, || unsafe { i32::from((*template).marks_generation) })
}

#[no_mangle]
pub unsafe extern "C" fn ty_template_render(
    template: *const ChatTemplate,
    messages: Slice,
    tools: Slice,
    variables: Slice,
    now: *const i64,
    flags: u32,
    text: *mut Bytes,
    spans: *mut Owned<usize>,
    error: *mut Bytes,
) -> Code {
    let body = || unsafe {
        let (template, now) = (&*template, now.as_ref().copied());
        let (messages, tools, variables) = (messages.text()?, tools.text()?, variables.text()?);
        let (rendered, found) = template.render(
            || Conversation::parse(messages, tools, variables, now),
            flags & GENERATION_PROMPT != 0,
            flags & SPANS != 0,
        )?;
        text.write(Owned::new(rendered.into_bytes()));
        spans.write(Owned::new(found.iter().flat_map(|span| [span.start, span.end]).collect()));
        Ok(())
    };
    unsafe { guard(error, body) }
}
