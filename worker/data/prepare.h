// From text files to what training reads: a tokenizer and token shards, in one folder with a
// manifest. The same inputs give the same bytes on any machine, so the folder can be named by its
// manifest's hash and shared by jobs.
//
//   tokenizer.json
//   train-000-00000.tok        source 0, its first shard; shard_format.h
//   validation-000-00000.tok
//   prepared.json              written last: names, sizes and hashes of all the others
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/documents/text_reader.h"
#include "common/status.h"
#include "worker/data/loader.h"
#include "worker/data/token_shard.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

struct PrepareSource {
  std::vector<TextFile> files;
  std::string format = "auto";      // auto | text | jsonl
  std::string text_field = "text";  // jsonl
  double weight = 1.0;
};

struct PrepareProgress {
  std::string phase;         // "tokenizer", "train" or "validation"
  int64_t source_bytes = 0;  // of text done in this phase
  int64_t documents = 0;
};

struct PrepareSpec {
  std::vector<PrepareSource> train;
  std::vector<PrepareSource> validation;  // may be empty
  // Text of a tokenizer.json. Empty: one is trained on the train sources.
  std::string tokenizer_json;
  // Of a trained tokenizer: its kind (bpe | wordpiece | unigram), its entries, special ones
  // included (fewer where the text supports no more), and whether there is a mask token among them
  // (wordpiece has one in any case).
  std::string tokenizer_type = "bpe";
  int64_t vocab_size = 4096;
  bool with_mask_token = false;
  // Which token ends documents. Empty: <|endoftext|>, or the first of the well-known ones the
  // tokenizer has (kEndOfTextNames in prepare.cc).
  std::string end_of_text;
  int32_t end_of_text_id = -1;   // the same by id; goes before the name
  std::filesystem::path folder;  // made if absent; what an earlier run left there is removed

  // Bounds. A tokenizer is trained on so many bytes of text at most, each source having an equal
  // part.
  int64_t tokenizer_training_bytes_max = int64_t{512} << 20;
  // A shard is ended after the document with which it reaches this size.
  int64_t shard_tokens = int64_t{1} << 27;
  // Called about every 8 MiB of text; an error stops the work and is returned. May be empty.
  std::function<Status(const PrepareProgress&)> on_progress;
};

constexpr char kManifestName[] = "prepared.json";

// Returns the manifest's text, which is also in the folder. On error the folder holds no manifest
// of this run. InvalidArgument names the file or field at fault.
StatusOr<std::string> Prepare(const PrepareSpec& spec);

// The tokenizer Prepare would train for this spec (train sources, vocab_size, on_progress):
// `trainyard tokenizer train`. Writes nothing.
StatusOr<Tokenizer> TrainTokenizer(const PrepareSpec& spec);

// What a prepared folder holds, checked: every shard's contents, the tokenizer's hash, and that the
// manifest is about them.
struct PreparedData {
  std::shared_ptr<const Tokenizer> tokenizer;
  int32_t end_of_text = 0;
  std::vector<LoaderSource> train;
  std::vector<std::shared_ptr<const TokenShard>> validation;  // of all validation sources, in order
  std::string manifest_sha256;                                // names the data of a run
};
// NotFound or DataLoss, with the name of the file at fault.
StatusOr<PreparedData> OpenPrepared(const std::filesystem::path& folder);

// Reads a source as Prepare would and keeps nothing: `trainyard data check`.
struct SourceSummary {
  int64_t files = 0;
  int64_t documents = 0;
  int64_t source_bytes = 0;
  int64_t longest_document_bytes = 0;
  // The most entries a tokenizer trained on it can have; 0: not looked for, as in texts of more
  // than kVocabularyBytesMax, which support any usual one.
  int64_t largest_vocabulary = 0;
};
constexpr int64_t kVocabularyBytesMax = int64_t{16} << 20;
StatusOr<SourceSummary> CheckSource(const PrepareSource& source,
                                    TokenizerKind kind = TokenizerKind::kBpe);

}  // namespace trainyard::worker
