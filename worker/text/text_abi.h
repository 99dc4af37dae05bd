/* The C face of the Rust crate in this folder. Only this folder's .cc files include it.
 *
 * Every function that can fail returns a TyCode and, unless that is TY_OK, fills *error with a
 * message the caller frees. Nothing unwinds through it: a panic in Rust is TY_INTERNAL, its message
 * and place are in *error, and nothing is printed. Handles may be shared by threads, save a trainer
 * and a stream, which have one user at a time. Text is UTF-8; the crate checks it. Arrays given out
 * are freed with the function named after their type. */
#ifndef TRAINYARD_WORKER_TEXT_TEXT_ABI_H_
#define TRAINYARD_WORKER_TEXT_TEXT_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t TyCode;
/* TY_LIMIT: a bound was reached. TY_PRECONDITION: right, but not to be had from this object. */
enum { TY_OK = 0, TY_INVALID = 1, TY_INTERNAL = 2, TY_LIMIT = 3, TY_PRECONDITION = 4 };

typedef struct TyTokenizer TyTokenizer;
typedef struct TyTrainer TyTrainer;
typedef struct TyStream TyStream;
typedef struct TyTemplate TyTemplate;

typedef struct { const uint8_t* data; size_t size; } TySlice; /* borrowed from the caller */
typedef struct { uint8_t* data; size_t size; } TyBytes;       /* owned: ty_bytes_free */
typedef struct { uint32_t* data; size_t size; } TyIds;        /* owned: ty_ids_free */
typedef struct { size_t* data; size_t size; } TySizes;        /* owned: ty_sizes_free */

void ty_bytes_free(TyBytes bytes);
void ty_ids_free(TyIds ids);
void ty_sizes_free(TySizes sizes);

/* Feed any number of texts, then finish once; a word never spans two texts. strip_accents: -1 as
 * lowercase says; the last three are for WordPiece. Null for a kind that does not exist. */
enum { TY_BPE = 0, TY_WORD_PIECE = 1, TY_UNIGRAM = 2 };
typedef struct { int32_t kind, lowercase, strip_accents, split_chinese; } TyTextRules;
TyTrainer* ty_trainer_new(TyTextRules rules);
void ty_trainer_free(TyTrainer* trainer);
TyCode ty_trainer_feed(TyTrainer* trainer, const TySlice* texts, size_t n, TyBytes* error);
TyCode ty_trainer_finish(TyTrainer* trainer, size_t vocab_size, uint64_t min_frequency,
                         size_t alphabet_size, const TySlice* special_tokens, size_t n,
                         TyTokenizer** out, TyBytes* error);

TyCode ty_tokenizer_load(TySlice json, TyTokenizer** out, TyBytes* error);
void ty_tokenizer_free(TyTokenizer* tokenizer);
TyCode ty_tokenizer_json(const TyTokenizer* tokenizer, TyBytes* out, TyBytes* error);
/* One past the greatest id. */
size_t ty_tokenizer_vocab_size(const TyTokenizer* tokenizer);
/* 1 and *id if the token exists, else 0. */
int32_t ty_tokenizer_token_to_id(const TyTokenizer* tokenizer, TySlice token, uint32_t* id);
/* TY_INVALID if no token has this id. */
TyCode ty_tokenizer_id_to_token(const TyTokenizer* tokenizer, uint32_t id, TyBytes* out,
                                TyBytes* error);
/* For each id the bytes of text it stands for; 0 for special tokens and unused ids. */
TyCode ty_tokenizer_token_sizes(const TyTokenizer* tokenizer, TyIds* out, TyBytes* error);

/* Flags: what special tokens do. */
enum {
  TY_ADD_SPECIAL = 1,   /* add those of the tokenizer's template (BOS and the like) */
  TY_PARSE_SPECIAL = 2, /* a special token spelled out in the text becomes its id */
  TY_SKIP_SPECIAL = 4   /* decoding: leave them out */
};
/* The ids of all texts one after the other; ends[i] is where text i ends. */
TyCode ty_tokenizer_encode(const TyTokenizer* tokenizer, const TySlice* texts, size_t n,
                           uint32_t flags, TyIds* ids, TySizes* ends, TyBytes* error);
/* One text, with [begin, end) byte offsets into it: two numbers per id. */
TyCode ty_tokenizer_encode_offsets(const TyTokenizer* tokenizer, TySlice text, uint32_t flags,
                                   TyIds* ids, TySizes* offsets, TyBytes* error);
TyCode ty_tokenizer_decode(const TyTokenizer* tokenizer, const uint32_t* ids, size_t n,
                           uint32_t flags, TyBytes* out, TyBytes* error);

/* Decoding token by token; outlives its tokenizer's handle. */
TyStream* ty_stream_new(const TyTokenizer* tokenizer, uint32_t flags);
void ty_stream_free(TyStream* stream);
TyCode ty_stream_step(TyStream* stream, uint32_t id, TyBytes* out, TyBytes* error);
TyCode ty_stream_finish(TyStream* stream, TyBytes* out, TyBytes* error);

/* Chat templates. TY_LIMIT for a template larger, longer at work or writing more than this. */
typedef struct { size_t source_bytes; uint64_t steps; size_t output_bytes; } TyTemplateLimits;
TyCode ty_template_compile(TySlice source, TyTemplateLimits limits, TyTemplate** out,
                           TyBytes* error);
void ty_template_free(TyTemplate* chat_template);
/* 1 if it has {% generation %} blocks. */
int32_t ty_template_marks_generation(const TyTemplate* chat_template);

enum { TY_GENERATION_PROMPT = 1, TY_SPANS = 2 };
/* JSON: messages an array of objects, tools an array or empty, variables an object or empty.
 * now: seconds since 1970-01-01 00:00 on the wall clock that strftime_now reads, or null.
 * spans: [begin, end) bytes of the text that the assistant wrote, two numbers each, if TY_SPANS;
 * TY_PRECONDITION if the template does not mark them and its text does not tell them. */
TyCode ty_template_render(const TyTemplate* chat_template, TySlice messages, TySlice tools,
                          TySlice variables, const int64_t* now, uint32_t flags, TyBytes* text,
                          TySizes* spans, TyBytes* error);

#ifdef __cplusplus
}
#endif

#endif /* TRAINYARD_WORKER_TEXT_TEXT_ABI_H_ */
