//! Text to tokens and back for the trainer: Hugging Face `tokenizers` and chat templates behind the
//! C ABI of text_abi.h, which says what each function promises; the *_abi.rs files are its functions.

mod abi;
mod chat;
mod chat_abi;
mod generation;
mod handle;
mod jinja;
mod load;
mod moment;
mod panics;
mod stream;
mod tokenizer_abi;
mod trainer_abi;
mod unigram;
mod vocabulary;
mod words;
