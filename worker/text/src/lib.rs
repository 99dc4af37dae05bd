//! Text to tokens and back for the trainer: Hugging Face `tokenizers` and `minijinja` behind the C
//! ABI of text_abi.h, which says what each function promises; the *_abi.rs files are its functions.

mod abi;
mod ast_copy;
mod chat;
mod chat_abi;
mod generation;
mod handle;
mod moment;
mod names;
mod panics;
mod program;
mod python;
mod sized;
mod source;
mod stream;
mod tojson;
mod tokenizer_abi;
mod trainer_abi;
mod unigram;
mod vocabulary;
mod words;
