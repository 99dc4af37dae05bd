// What a client asks for. One message in three spellings (YAML job file, proto, JSON/CBOR), all
// driven by the one field table in fields.h: a field that is not in the table does not exist.
// Enumerations are strings whose allowed values stand in the table, as users write them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace trainyard {

// Bytes in the BlobStore, named by content: key "datasets/<sha256>".
struct BlobRef {
  std::string name;    // file name for messages, e.g. "hamlet.txt"
  std::string sha256;  // 64 hex characters
  int64_t size_bytes = 0;
};

struct DataSource {
  std::string path;             // a path or glob on the submitting client; never opened elsewhere
  std::string format = "auto";  // auto (by extension) | text | jsonl
  std::string text_field = "text";  // jsonl: the key that holds the text
  double weight = 1.0;              // share of items drawn from this source, relative to the others
  // Filled in at submit; a resolved spec has these and needs no path.
  std::vector<BlobRef> files = {};
};

// Exactly one of preset, from, config is given.
struct ModelSpec {
  std::string preset;  // "llama-nano", ...; common/job_spec/presets.h
  // REF: a Hugging Face folder or a .gguf file of the submitting client, job:NAME@latest,
  // job:NAME@400. A resolved spec has the last form or a path that is never opened again.
  std::string from;
  // Hugging Face config.json keys, e.g. {"model_type": "llama", "hidden_size": "288"}. Values are
  // JSON scalars in text form.
  std::map<std::string, std::string> config;
  std::vector<BlobRef> files = {};  // filled in at submit: those of the model that `from` names
};

struct TokenizerTraining {
  std::string type = "bpe";   // bpe (byte-level) | wordpiece (as BERT's) | unigram
  int64_t vocab_size = 4096;  // special tokens included
};

// At most one of train, from; neither when the model brings its own.
struct TokenizerSpec {
  std::optional<TokenizerTraining> train;
  std::string from;                 // tokenizer.json or its folder, of the submitting client
  std::vector<BlobRef> files = {};  // filled in at submit
};

struct DataSpec {
  std::vector<DataSource> train;
  std::vector<DataSource> validation;
};

struct TrainSpec {
  int64_t max_steps = 0;                     // optimiser updates; must be given
  int64_t global_batch_size = 32;            // rows per step over all ranks
  int64_t micro_batch_size = 0;              // rows per forward of one rank; 0: chosen at submit
  std::string recompute = "none";            // none | activations | block: of forward, in backward
  int64_t max_length = 256;                  // tokens of a row
  double learning_rate = 3e-4;               // peak
  double min_lr_ratio = 0.1;                 // cosine and linear end at this share of the peak
  std::string lr_scheduler_type = "cosine";  // cosine | linear | constant | warmup_stable_decay
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;      // warmup_stable_decay: length of the final decay
  std::string optim = "adamw";  // adamw | muon (matrices of blocks; adamw for all else)
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.95;
  double adam_epsilon = 1e-8;
  double muon_momentum = 0.95;
  double weight_decay = 0.1;   // matrices only; norms and biases are not decayed
  double max_grad_norm = 1.0;  // 0: no clipping
  std::string precision =
      "auto";  // fp32 | bf16 | auto (bf16 where the CPU or GPU multiplies it fast)
  int64_t seed = 42;
  int64_t logging_steps = 1;
};

// Of objective masked: which places are hidden (worker/data/masking.h).
struct MaskingSpec {
  double probability = 0.15;  // of each ordinary token, or word, to be chosen
  bool whole_word = false;    // the tokens of a word are chosen together
};

struct ResourceSpec {
  int64_t ranks = 1;
  std::string device = "cpu";    // cpu | cuda
  int64_t threads_per_rank = 1;  // CPU ranks
  int64_t priority = 0;          // larger starts first
};

struct CheckpointSpec {
  int64_t save_steps = 100;      // 0: only the last step
  int64_t save_total_limit = 3;  // older recorded ones are deleted
};

struct EvaluationSpec {
  int64_t eval_steps = 100;  // 0: only after the last step
  int64_t max_rows = 256;    // rows of the validation data used each time; 0: all
  // Kind evaluate:
  int64_t max_length = 0;  // tokens read at once; 0: the model's places
  bool bos_twice = true;   // the BOS that a tokenizer adds is kept behind the prefix token
};

struct LimitSpec {
  int64_t max_attempts = 5;          // tries for reasons that are not the user's, without progress
  int64_t step_timeout_seconds = 0;  // 0: max(15 s, 6 x p99 step)
};

struct JobSpec {
  int64_t version = 1;
  std::string name;
  std::string
      kind;  // pretrain | sft | preference | reward_model | rlhf | distill | evaluate | generate
  std::string objective = "causal";  // pretrain: causal | masked
  ModelSpec model;
  TokenizerSpec tokenizer;
  DataSpec data;
  TrainSpec train;
  MaskingSpec masking;
  ResourceSpec resources;
  CheckpointSpec checkpoint;
  EvaluationSpec evaluation;
  LimitSpec limits;
};

}  // namespace trainyard
