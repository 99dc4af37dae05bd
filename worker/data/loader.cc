#include "worker/data/loader.h"

#include <utility>

#include "common/files.h"
#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kMaxLengthMax = int64_t{1} << 24;
constexpr int64_t kGlobalBatchSizeMax = int64_t{1} << 24;
constexpr int64_t kTokensReadMax = int64_t{1} << 60;   // so that no product of a plan overflows
constexpr int64_t kBatchTokensMax = int64_t{1} << 30;  // cu_seqlens are int32

Status CheckOptions(const LoaderOptions& options) {
  if (options.max_length < 1 || options.max_length > kMaxLengthMax)
    return InvalidArgument("train.max_length is {}; it must be 1 to {}", options.max_length,
                           kMaxLengthMax);
  if (options.global_batch_size < 1 || options.global_batch_size > kGlobalBatchSizeMax)
    return InvalidArgument("train.global_batch_size is {}; it must be 1 to {}",
                           options.global_batch_size, kGlobalBatchSizeMax);
  return OkStatus();
}

// What decides over masks, besides seed and tokens.
std::string NameOf(const Masking& masking) {
  const MaskingVocabulary& vocabulary = masking.vocabulary();
  return fmt::format("masking 1\nprobability {}\nwhole_word {}\nmask {} in {} {}\n",
                     masking.options().probability, masking.options().whole_word, vocabulary.mask,
                     fmt::join(vocabulary.prefix, ","), fmt::join(vocabulary.suffix, ","));
}

}  // namespace

std::pair<int64_t, int64_t> RowsOfRank(int64_t rows, int rank, int ranks) {
  REQUIRE(ranks > 0 && rank >= 0 && rank < ranks);
  return {rows * rank / ranks, rows * (rank + 1) / ranks};
}

StatusOr<Loader> Loader::Create(const std::vector<LoaderSource>& sources,
                                const LoaderOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const RowShape shape, RowShapeOf(options.max_length, options.masking));
  std::vector<double> weights;
  for (const LoaderSource& source : sources) weights.push_back(source.weight);
  ASSIGN_OR_RETURN(Mixture mixture, Mixture::Create(weights, options.seed));
  std::vector<Source> opened;
  for (size_t s = 0; s < sources.size(); ++s) {
    auto tokens = TokenSource::Create(sources[s].shards);
    if (!tokens.ok()) return Annotate(tokens.status(), fmt::format("data.train[{}]", s));
    if (s > 0)
      RETURN_IF_ERROR(CheckSameTokenizer(opened[0].tokens.first_shard(), tokens->first_shard()));
    Pieces pieces(tokens->ItemEnds(), shape);
    if (pieces.empty())
      return InvalidArgument("data.train[{}] has no text in its documents: give it some", s);
    RowPlan plan(std::move(pieces), options.seed, static_cast<uint32_t>(s));
    opened.push_back({*std::move(tokens), std::move(plan)});
  }
  return Loader(std::move(opened), std::move(mixture), options);
}

Loader::Loader(std::vector<Source> sources, Mixture mixture, const LoaderOptions& options)
    : sources_(std::move(sources)), mixture_(std::move(mixture)), options_(options) {
  if (options.masking != nullptr) masking_ = *options.masking;
  options_.masking = nullptr;
  std::string named = fmt::format("loader 1\nseed {}\nmax_length {}\nglobal_batch_size {}\n",
                                  options_.seed, options_.max_length, options_.global_batch_size);
  for (size_t s = 0; s < sources_.size(); ++s)
    named +=
        fmt::format("{} rows of a block from {}\n",
                    mixture_.rows_per_block(static_cast<int32_t>(s)), sources_[s].tokens.digest());
  if (masking_.has_value()) named += NameOf(*masking_);
  digest_ = Sha256(named);
}

StatusOr<std::vector<Batch>> Loader::MicroBatches(int64_t step, int rank, int ranks,
                                                  int64_t micro_batch_rows) {
  if (step < 0 || step >= kTokensReadMax / places_per_step())
    return InvalidArgument("there is no step {}", step);
  if (ranks < 1 || rank < 0 || rank >= ranks)
    return InvalidArgument("there is no rank {} among {} ranks", rank, ranks);
  if (ranks > options_.global_batch_size)
    return InvalidArgument(
        "train.global_batch_size is {}, fewer rows than the {} ranks: raise it or use fewer ranks",
        options_.global_batch_size, ranks);
  if (micro_batch_rows < 1 || micro_batch_rows > kBatchTokensMax / options_.max_length)
    return InvalidArgument("train.micro_batch_size is {}; it must be 1 to {} at this max_length",
                           micro_batch_rows, kBatchTokensMax / options_.max_length);
  const auto [begin, end] = RowsOfRank(options_.global_batch_size, rank, ranks);
  const int64_t first = step * options_.global_batch_size;
  std::vector<Batch> batches;
  for (int64_t row = begin; row < end; ++row) {
    if ((row - begin) % micro_batch_rows == 0) batches.emplace_back();
    AppendRow(first + row, batches.back());
  }
  return batches;
}

void Loader::AppendRow(int64_t row, Batch& batch) {
  const SourceRow at = mixture_.At(row);
  Source& source = sources_[static_cast<size_t>(at.source)];
  const std::vector<Segment> segments = source.plan.Row(at.row);
  if (!masking_.has_value()) {
    for (const Segment& segment : segments) source.tokens.AppendTo(segment, batch);
    return;
  }
  const int64_t begin = batch.tokens();
  const MaskingVocabulary& vocabulary = masking_->vocabulary();
  for (const Segment& segment : segments)
    source.tokens.AppendItem(segment, vocabulary.prefix, vocabulary.suffix, batch);
  const EpochRow where = source.plan.Locate(at.row);
  masking_->Apply(
      {.source = static_cast<uint32_t>(at.source), .epoch = where.epoch, .row = where.row}, begin,
      batch);
}

int64_t Loader::TargetsInStep(int64_t step) {
  REQUIRE(step >= 0);
  if (!masking_.has_value()) return places_per_step();
  int64_t targets = 0;
  const int64_t first = step * options_.global_batch_size;
  for (int64_t row = first; row < first + options_.global_batch_size; ++row) {
    Batch batch;
    AppendRow(row, batch);
    targets += batch.targets();
  }
  return targets;
}

std::vector<LoaderPosition> Loader::PositionBefore(int64_t step) {
  std::vector<LoaderPosition> positions;
  for (size_t s = 0; s < sources_.size(); ++s) {
    const int64_t row = mixture_.RowsOf(static_cast<int32_t>(s), step * options_.global_batch_size);
    const EpochRow at = sources_[s].plan.Locate(row);
    positions.push_back({at.epoch, at.row, at.rows});
  }
  return positions;
}

int64_t Loader::vocab_size() const { return sources_[0].tokens.first_shard().vocab_size(); }

int64_t Loader::tokens_per_epoch() const {
  int64_t tokens = 0;
  for (const Source& source : sources_) tokens += source.tokens.tokens();
  return tokens;
}

int64_t Loader::places_per_epoch() const {
  int64_t places = 0;
  for (const Source& source : sources_) places += source.plan.places_per_epoch();
  return places;
}

}  // namespace trainyard::worker
