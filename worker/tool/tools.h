// What needs text or tensors on a user's machine: `trainyard-trainer tool ...`. Data goes to
// stdout, words to stderr. A tool that is interrupted leaves no half-written file.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/model/config.h"
#include "common/status.h"
#include "worker/checkpoint/model_source.h"

namespace trainyard::worker {

// How a model is opened that only answers.
struct OpenOptions {
  int threads = 1;
  // Of the weights: fp32, bf16 (half the memory) or auto, the faster one for `use`.
  std::string precision = "fp32";
  // About how many tokens will be read and decoded, and how many rows at once.
  struct Use {
    int64_t reads = 64, decodes = 128, rows = 1;
  };
  Use use = {};
};

struct SamplingWords {
  int64_t max_new_tokens = 128;
  double temperature = 1.0;  // 0: the likeliest token each time
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;
  double min_p = 0;  // 0: off
  double repetition_penalty = 1;
  std::vector<std::string> stop;  // texts that end an answer and are not shown
  int64_t seed = 42;
  absl::Time now;  // what a template that asks for the date is told
};

struct GenerateOptions {
  std::filesystem::path model;  // a Hugging Face folder or a .gguf file
  std::string prompt;
  std::optional<std::string> chat;  // instead: a user's message, put into the model's chat template
  std::string system;               // the message before it; empty: the template's own
  std::filesystem::path prompts;    // instead: a file of prompts (prompts_file.h)
  bool parse_special = true;        // special tokens spelled out in a text become their ids
  OpenOptions open;
  SamplingWords sampling;
};
// Writes the prompt and what the model makes of it, as it comes; of --chat only the answer. Of a
// file one JSON object a line, in its order, each as soon as it has ended: {"prompt" or "messages",
// "completion", "tokens"}. Ends at any of EndTokens (worker/model_text/end_tokens.h).
Status Generate(const GenerateOptions& options);

struct ChatOptions {
  std::filesystem::path model;
  std::string system;
  OpenOptions open;
  SamplingWords sampling;
};
// A conversation over stdin and stdout, a line a message, until the input ends.
Status Chat(const ChatOptions& options);

// Says what is missing or does not fit in a model, and what to do about it (doctor.h); the number
// of problems. Errors when it cannot be opened at all.
StatusOr<int> ExamineModel(const std::filesystem::path& ref);

struct ScoreToolOptions {
  std::filesystem::path model;  // a Hugging Face folder or a .gguf file
  std::filesystem::path texts;  // .jsonl
  int64_t max_length = 0;       // tokens read at once; 0: the model's places
  bool bos_twice = true;        // ScoringRules (worker/data/scoring.h)
  OpenOptions open;
};
// For each line {"context", "continuation"} one JSON line {"loglikelihood", "tokens", "is_greedy"};
// for each line {"text"} {"loglikelihood", "tokens", "words", "bytes"}, by rolling windows
// (worker/data/scoring.h). Natural logarithms.
Status ScoreTool(const ScoreToolOptions& options);

struct TokenizerTrainOptions {
  std::vector<std::string> files;  // paths or globs
  std::string format = "auto";
  std::string text_field = "text";
  std::string type = "bpe";  // bpe, wordpiece or unigram
  int64_t vocab_size = 4096;
  bool with_mask = false;     // <mask> too; wordpiece has [MASK] anyway
  std::filesystem::path out;  // tokenizer.json
};
// With the special tokens that jobs need (SpecialTokensFor), and fewer entries than asked for where
// the text supports no more. A file that stands there is replaced.
Status TrainTokenizerTool(const TokenizerTrainOptions& options);
// `tokenizer`: a tokenizer.json, or a folder or .gguf file that has one.
// The ids of `text`, separated by spaces, or {"ids": [...]}; {"text": ...} of the other.
// `parse_special`: a special token spelled out in the text becomes its id.
Status EncodeTool(const std::filesystem::path& tokenizer, const std::string& text,
                  bool parse_special, bool json);
Status DecodeTool(const std::filesystem::path& tokenizer, const std::vector<int32_t>& ids,
                  bool json);

// Reads the files as training would and says what is in them, with the largest vocabulary that they
// support; the first error names file and place.
struct DataCheckOptions {
  std::vector<std::string> files;
  std::string type = "bpe";  // of the vocabulary
  bool json = false;
  std::string format = "auto";
  std::string text_field = "text";
};
Status CheckData(const DataCheckOptions& options);

// Of any model that ModelSource opens: family, shape, types, tokenizer, chat template, tensors, and
// of a checkpoint its state and whether every byte is as written.
Status InspectModel(const std::filesystem::path& model);

struct ImportOptions {
  std::filesystem::path source;       // a Hugging Face folder or a .gguf file
  std::filesystem::path destination;  // a folder that does not exist yet
  std::string type;                   // f32, bf16 or f16; empty: as stored, quantised ones as f32
};
// Writes a Hugging Face folder that transformers and the trainer load. It appears whole or not at
// all; SIGINT and SIGTERM end it with Aborted. The calling thread's mask blocks both from then on.
Status ImportModel(const ImportOptions& options);

struct ExportOptions {
  std::filesystem::path source;       // as ImportOptions has it
  std::filesystem::path destination;  // a folder or file that does not exist yet
  std::string format;                 // hf or gguf
  std::string
      type;  // hf: as ImportOptions has it; gguf: f32, f16, bf16, q8_0, q4_0, q4_k_m; empty: f16
};
// The same for a model that goes elsewhere; a .gguf file has its tokenizer and chat template in it
// and is what llama.cpp runs. Weights that such a file has no place for are named on stderr.
Status ExportModel(const ExportOptions& options);

// The model's notes, to stderr.
void SayNotes(const ModelSource& source);
// The config of a model whose tensors are those that its family needs. InvalidArgument naming the
// key or tensor that does not fit.
StatusOr<ModelConfig> CheckModel(const ModelSource& source);

struct PaceOptions {
  std::filesystem::path config;  // config.json, with vocab_size
  std::string precision = "fp32";
  std::string recompute = "none";
  std::string optim = "adamw";
  int64_t rows = 1;  // of a micro-batch
  int64_t length = 256;
  double learning = 1;  // the share of the places that learn
  int threads = 1;
};
// Writes the seconds of a micro-batch and of an update of the model, measured with its first layer
// alone and with two, the others taken to cost what the second does.
Status Pace(const PaceOptions& options);

// Writes the seconds of a probe (common/plan/probe.h, as JSON) in float32 and in bfloat16, as JSON.
Status TellPaces(const std::string& probe_json);

}  // namespace trainyard::worker
