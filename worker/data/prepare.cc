#include "worker/data/prepare.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/files.h"
#include "common/require.h"
#include "worker/data/pieces.h"
#include "worker/data/token_shard_writer.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

// The end-of-text tokens of well-known tokenizers, in the order they are looked for.
constexpr std::array<std::string_view, 5> kEndOfTextNames = {kEndOfText, "<|end_of_text|>", "</s>",
                                                             "<eos>", "[SEP]"};

// Reads all files of a source into one sink.
Status ReadSource(const PrepareSource& source, const DocumentSink& sink) {
  if (source.files.empty()) return InvalidArgument("the source has no files");
  for (const TextFile& file : source.files) {
    ASSIGN_OR_RETURN(const TextFormat format, FormatOf(source.format, file.name));
    RETURN_IF_ERROR(ReadDocuments(file, format, source.text_field, sink));
  }
  return OkStatus();
}

// The same, cut into batches of pieces.
Status ReadSourceInPieces(const PrepareSource& source, const PieceCutter::OnBatch& on_batch) {
  PieceCutter cutter(on_batch);
  RETURN_IF_ERROR(ReadSource(source, {.text = [&](std::string_view t) { return cutter.Text(t); },
                                      .end = [&] { return cutter.EndDocument(); }}));
  return cutter.Finish();
}

std::vector<std::string_view> TextsOf(std::span<const TextPiece> pieces) {
  std::vector<std::string_view> texts;
  texts.reserve(pieces.size());
  for (const TextPiece& piece : pieces) texts.push_back(piece.text);
  return texts;
}

// Counts what was done and tells the caller of Prepare.
class Progress {
 public:
  Progress(const PrepareSpec& spec, std::string phase) : spec_(spec) {
    now_.phase = std::move(phase);
  }
  Status Add(std::span<const TextPiece> pieces) {
    for (const TextPiece& piece : pieces) {
      now_.source_bytes += static_cast<int64_t>(piece.text.size());
      now_.documents += piece.ends_document ? 1 : 0;
    }
    return spec_.on_progress ? spec_.on_progress(now_) : OkStatus();
  }

 private:
  const PrepareSpec& spec_;
  PrepareProgress now_;
};

Status CheckSpec(const PrepareSpec& spec) {
  if (spec.train.empty()) return InvalidArgument("data.train is empty: there is nothing to learn");
  if (spec.shard_tokens < 1 || spec.tokenizer_training_bytes_max < 1)
    return InvalidArgument(
        "prepare: shard_tokens and tokenizer_training_bytes_max must be positive");
  return OkStatus();
}

// The manifest first, so that a run that dies halfway leaves none; then shards, whole and half.
Status RemoveEarlierRun(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> old = {folder / kManifestName};
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with("train-") || name.starts_with("validation-");
    if (ours && name.find(".tok") != std::string::npos) old.push_back(entry.path());
  }
  for (const auto& path : old) {
    if (!error) std::filesystem::remove(path, error);
    if (error) return ErrnoStatus(error.value(), fmt::format("cannot replace {}", path.string()));
  }
  return OkStatus();
}

StatusOr<int32_t> FindEndOfText(const Tokenizer& tokenizer, const PrepareSpec& spec) {
  if (spec.end_of_text_id >= 0) {
    RETURN_IF_ERROR(tokenizer.IdToToken(spec.end_of_text_id).status());
    return spec.end_of_text_id;
  }
  const std::string& asked = spec.end_of_text;
  if (!asked.empty()) {
    if (const auto id = tokenizer.TokenToId(asked)) return *id;
    return InvalidArgument("the tokenizer has no token \"{}\" to end documents with", asked);
  }
  for (const std::string_view name : kEndOfTextNames)
    if (const auto id = tokenizer.TokenToId(name)) return *id;
  return InvalidArgument(
      "the tokenizer has none of the usual end-of-text tokens ({}, ...); name the one it has",
      kEndOfText);
}

// Writes the shards of one source.
class SourceWriter {
 public:
  SourceWriter(const PrepareSpec& spec, const Tokenizer& tokenizer,
               const ShardVocabulary& vocabulary, std::string prefix)
      : spec_(spec), tokenizer_(tokenizer), vocabulary_(vocabulary), prefix_(std::move(prefix)) {}

  Status Add(std::span<const TextPiece> pieces) {
    ASSIGN_OR_RETURN(const EncodedTexts encoded, tokenizer_.EncodeAll(TextsOf(pieces)));
    size_t begin = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (writer_ == nullptr) {
        ASSIGN_OR_RETURN(writer_, TokenShardWriter::Create(spec_.folder / Name(), vocabulary_));
      }
      RETURN_IF_ERROR(
          writer_->Append(std::span(encoded.ids).subspan(begin, encoded.ends[i] - begin)));
      begin = encoded.ends[i];
      document_bytes_ += static_cast<int64_t>(pieces[i].text.size());
      if (!pieces[i].ends_document) continue;
      RETURN_IF_ERROR(writer_->EndItem(std::exchange(document_bytes_, 0)));
      if (writer_->written().tokens >= spec_.shard_tokens) RETURN_IF_ERROR(EndShard());
    }
    return OkStatus();
  }

  // The files written, for the manifest.
  StatusOr<Json> Finish() {
    if (writer_ != nullptr) RETURN_IF_ERROR(EndShard());
    return files_;
  }

 private:
  std::string Name() const { return fmt::format("{}-{:05}.tok", prefix_, files_.size()); }

  Status EndShard() {
    ASSIGN_OR_RETURN(const ShardSummary summary, writer_->Finish());
    writer_.reset();
    const std::string name = Name();
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(spec_.folder / name));
    files_.push_back({{"name", name},
                      {"sha256", sha256},
                      {"content_sha256", summary.content_sha256},
                      {"size_bytes", summary.file_bytes},
                      {"items", summary.items},
                      {"tokens", summary.tokens},
                      {"source_bytes", summary.source_bytes}});
    return OkStatus();
  }

  const PrepareSpec& spec_;
  const Tokenizer& tokenizer_;
  const ShardVocabulary& vocabulary_;
  const std::string prefix_;
  std::unique_ptr<TokenShardWriter> writer_;
  int64_t document_bytes_ = 0;
  Json files_ = Json::array();
};

StatusOr<Json> WriteSources(const PrepareSpec& spec, const std::string& phase,
                            const std::vector<PrepareSource>& sources, const Tokenizer& tokenizer,
                            const ShardVocabulary& vocabulary) {
  Progress progress(spec, phase);
  Json written = Json::array();
  for (size_t s = 0; s < sources.size(); ++s) {
    SourceWriter writer(spec, tokenizer, vocabulary, fmt::format("{}-{:03}", phase, s));
    const Status status =
        ReadSourceInPieces(sources[s], [&](std::span<const TextPiece> pieces) -> Status {
          RETURN_IF_ERROR(writer.Add(pieces));
          return progress.Add(pieces);
        });
    if (!status.ok()) return Annotate(status, fmt::format("data.{}[{}]", phase, s));
    ASSIGN_OR_RETURN(Json files, writer.Finish());
    written.push_back({{"weight", sources[s].weight}, {"files", std::move(files)}});
  }
  return written;
}

Json Totals(const Json& sources) {
  int64_t items = 0, tokens = 0, source_bytes = 0;
  for (const Json& source : sources) {
    for (const Json& file : source["files"]) {
      items += file["items"].get<int64_t>();
      tokens += file["tokens"].get<int64_t>();
      source_bytes += file["source_bytes"].get<int64_t>();
    }
  }
  return {{"items", items}, {"tokens", tokens}, {"source_bytes", source_bytes}};
}

}  // namespace

StatusOr<Tokenizer> TrainTokenizer(const PrepareSpec& spec) {
  RETURN_IF_ERROR(CheckSpec(spec));
  ASSIGN_OR_RETURN(const TokenizerKind kind, TokenizerKindNamed(spec.tokenizer_type));
  TokenizerTrainer trainer({.kind = kind});
  Progress progress(spec, "tokenizer");
  const int64_t bytes_max =
      spec.tokenizer_training_bytes_max / static_cast<int64_t>(spec.train.size());
  for (size_t s = 0; s < spec.train.size(); ++s) {
    int64_t bytes = 0;
    bool enough = false;
    const Status status =
        ReadSourceInPieces(spec.train[s], [&](std::span<const TextPiece> pieces) -> Status {
          std::vector<std::string_view> texts;
          for (const TextPiece& piece : pieces) {
            if (bytes >= bytes_max) break;
            texts.push_back(piece.text);
            bytes += static_cast<int64_t>(piece.text.size());
          }
          RETURN_IF_ERROR(trainer.Feed(texts));
          RETURN_IF_ERROR(progress.Add(pieces));
          enough = bytes >= bytes_max;
          return enough ? Cancelled("enough text") : OkStatus();
        });
    if (!status.ok() && !enough) return Annotate(status, fmt::format("data.train[{}]", s));
  }
  auto tokenizer = trainer.Finish({.vocab_size = spec.vocab_size,
                                   .special_tokens = SpecialTokensFor(kind, spec.with_mask_token)});
  if (!tokenizer.ok())
    return WithField(Annotate(tokenizer.status(), "tokenizer.train.vocab_size"),
                     "tokenizer.train.vocab_size");
  return tokenizer;
}

StatusOr<std::string> Prepare(const PrepareSpec& spec) {
  RETURN_IF_ERROR(CheckSpec(spec));
  RETURN_IF_ERROR(MakeFolders(spec.folder));
  RETURN_IF_ERROR(RemoveEarlierRun(spec.folder));

  auto tokenizer =
      spec.tokenizer_json.empty() ? TrainTokenizer(spec) : Tokenizer::Load(spec.tokenizer_json);
  if (!tokenizer.ok()) return tokenizer.status();
  RETURN_IF_ERROR(WriteFileAtomically(spec.folder / "tokenizer.json", tokenizer->json()));
  ShardVocabulary vocabulary;
  vocabulary.tokenizer_sha256 = Sha256(tokenizer->json());
  ASSIGN_OR_RETURN(vocabulary.end_of_text, FindEndOfText(*tokenizer, spec));
  ASSIGN_OR_RETURN(vocabulary.token_sizes, tokenizer->TokenSizes());

  ASSIGN_OR_RETURN(Json train, WriteSources(spec, "train", spec.train, *tokenizer, vocabulary));
  ASSIGN_OR_RETURN(Json validation,
                   WriteSources(spec, "validation", spec.validation, *tokenizer, vocabulary));
  Json manifest;
  manifest["version"] = 1;
  manifest["tokenizer"] = {{"name", "tokenizer.json"},
                           {"sha256", vocabulary.tokenizer_sha256},
                           {"size_bytes", tokenizer->json().size()},
                           {"vocab_size", tokenizer->vocab_size()},
                           {"end_of_text", vocabulary.end_of_text}};
  manifest["totals"] = {{"train", Totals(train)}, {"validation", Totals(validation)}};
  manifest["train"] = std::move(train);
  manifest["validation"] = std::move(validation);
  const std::string text = manifest.dump(2) + "\n";
  RETURN_IF_ERROR(WriteFileAtomically(spec.folder / kManifestName, text));
  return text;
}

StatusOr<SourceSummary> CheckSource(const PrepareSource& source, TokenizerKind kind) {
  SourceSummary summary{.files = static_cast<int64_t>(source.files.size())};
  auto trainer = std::make_unique<TokenizerTrainer>(TokenizerText{.kind = kind});
  PieceCutter cutter([&](std::span<const TextPiece> pieces) {
    return trainer == nullptr ? OkStatus() : trainer->Feed(TextsOf(pieces));
  });
  int64_t document_bytes = 0;
  RETURN_IF_ERROR(
      ReadSource(source, {.text =
                              [&](std::string_view text) {
                                document_bytes += static_cast<int64_t>(text.size());
                                if (summary.source_bytes + document_bytes > kVocabularyBytesMax)
                                  trainer.reset();
                                return trainer == nullptr ? OkStatus() : cutter.Text(text);
                              },
                          .end =
                              [&] {
                                ++summary.documents;
                                summary.source_bytes += document_bytes;
                                summary.longest_document_bytes =
                                    std::max(summary.longest_document_bytes, document_bytes);
                                document_bytes = 0;
                                return trainer == nullptr ? OkStatus() : cutter.EndDocument();
                              }}));
  if (trainer == nullptr) return summary;
  RETURN_IF_ERROR(cutter.Finish());
  ASSIGN_OR_RETURN(
      const Tokenizer largest,
      trainer->Finish({.vocab_size = kVocabSizeMax,
                       .special_tokens = SpecialTokensFor(kind, /*with_mask=*/false)}));
  summary.largest_vocabulary = largest.vocab_size();
  return summary;
}

}  // namespace trainyard::worker
