#include "common/plan/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace trainyard::plan {
namespace {

int64_t Needed(const RankShape& shape) { return HostBytes(shape); }

// The longest row, in steps of 64 tokens, that fits; 0: none.
int64_t LongestRow(RankShape shape, int64_t memory_bytes) {
  constexpr int64_t kStep = 64;
  int64_t fits = 0, too_long = (shape.step.length + kStep - 1) / kStep;
  while (too_long - fits > 1) {
    const int64_t middle = (fits + too_long) / 2;
    shape.step.length = middle * kStep;
    (Needed(shape) <= memory_bytes ? fits : too_long) = middle;
  }
  return fits * kStep;
}

class Search {
 public:
  Search(RankShape shape, int64_t memory_bytes) : shape_(std::move(shape)), memory_(memory_bytes) {}

  void Try(const RankShape& changed, std::string set, std::string cost) {
    const int64_t needed = Needed(changed);
    if (needed <= memory_) found.push_back({std::move(set), std::move(cost), needed});
  }

  void MicroBatch() {
    RankShape changed = shape_;
    const int64_t rows = LargestMicroBatch(shape_, memory_, shape_.step.rows - 1);
    if (rows == 0) return;
    changed.step.rows = rows;
    Try(changed, fmt::format("train.micro_batch_size={}", rows),
        fmt::format("the same batch in {} micro-batches", shape_.rows_per_rank / rows));
  }
  void RecomputePolicy() {
    if (shape_.step.recompute == Recompute::kNone) {
      RankShape changed = shape_;
      changed.step.recompute = Recompute::kActivations;
      Try(changed, "train.recompute=activations", "norms and activations are computed twice");
    }
    if (shape_.step.recompute != Recompute::kBlock) {
      RankShape changed = shape_;
      changed.step.recompute = Recompute::kBlock;
      Try(changed, "train.recompute=block", "every block's forward is computed twice");
    }
  }
  void Bfloat16() {
    RankShape changed = shape_;
    changed.step.bfloat16 = true;
    Try(changed, "train.precision=bf16", "activations are rounded to 8 bits of mantissa");
  }
  void WithoutCopies() {
    if (!shape_.copies_checkpoints) return;
    RankShape changed = shape_;
    changed.copies_checkpoints = false;
    Try(changed, "checkpoint.save_steps=0", "only the last step is written");
  }
  void FewerTokens() {
    RankShape changed = shape_;
    changed.step.length = LongestRow(shape_, memory_);
    if (changed.step.length == 0) return;
    Try(changed, fmt::format("train.max_length={}", changed.step.length),
        "rows are shorter, and a step has fewer tokens");
  }
  // Recompute with the largest micro-batch that then fits; if there is none, all there is to do.
  void Together(bool may_choose_bfloat16) {
    RankShape changed = shape_;
    std::string set;
    if (changed.step.recompute != Recompute::kBlock) set = "train.recompute=block ";
    changed.step.recompute = Recompute::kBlock;
    const int64_t rows = LargestMicroBatch(changed, memory_, changed.step.rows);
    if (changed.step.rows > 1)
      set += fmt::format("train.micro_batch_size={} ", std::max<int64_t>(rows, 1));
    changed.step.rows = std::max<int64_t>(rows, 1);
    // bf16 keeps 2 bytes a parameter more; it pays where activations are what is large.
    RankShape narrow = changed;
    narrow.step.bfloat16 = true;
    if (rows == 0 && may_choose_bfloat16 && Needed(narrow) < Needed(changed)) {
      changed = narrow;
      set += "train.precision=bf16 ";
    }
    if (Needed(changed) > memory_ && changed.copies_checkpoints) {
      changed.copies_checkpoints = false;
      set += "checkpoint.save_steps=0 ";
    }
    if (Needed(changed) > memory_) {
      changed.step.length = LongestRow(changed, memory_);
      if (changed.step.length == 0) return;
      set += fmt::format("train.max_length={} ", changed.step.length);
    }
    if (!set.empty()) set.pop_back();
    Try(changed, set, "all of them together");
  }

  std::vector<Remedy> found;

 private:
  const RankShape shape_;
  const int64_t memory_;
};

}  // namespace

int64_t LargestMicroBatch(RankShape shape, int64_t memory_bytes, int64_t rows_max) {
  for (int64_t rows = std::min(rows_max, shape.rows_per_rank); rows > 0; --rows) {
    if (shape.rows_per_rank % rows != 0) continue;
    shape.step.rows = rows;
    if (Needed(shape) <= memory_bytes) return rows;
  }
  return 0;
}

Fit FitInto(const RankShape& shape, int64_t memory_bytes, bool may_choose_bfloat16) {
  Fit fit{.fits = false,
          .ranks_on_host = shape.ranks_on_host,
          .needed_bytes = Needed(shape),
          .memory_bytes = memory_bytes,
          .remedies = {}};
  fit.fits = fit.needed_bytes <= memory_bytes;
  if (fit.fits) return fit;
  const bool may_narrow = may_choose_bfloat16 && !shape.step.bfloat16;
  Search search(shape, memory_bytes);
  search.MicroBatch();
  search.RecomputePolicy();
  if (may_narrow) search.Bfloat16();
  search.WithoutCopies();
  search.FewerTokens();
  if (search.found.empty()) search.Together(may_narrow);
  fit.remedies = std::move(search.found);
  return fit;
}

std::string FormatMemory(int64_t bytes) {
  const auto mib = static_cast<double>(bytes) / (1 << 20);
  return mib >= 1024 ? fmt::format("{:.2f} GiB", mib / 1024) : fmt::format("{:.1f} MiB", mib);
}

std::string FitSentence(const Fit& fit) {
  const std::string need = fmt::format(
      "{} {} and may have {}",
      fit.ranks_on_host == 1 ? "a rank needs"
                             : fmt::format("{} ranks of a host need", fit.ranks_on_host),
      FormatMemory(fit.needed_bytes), FormatMemory(fit.memory_bytes));
  if (fit.fits) return need;
  std::string would;
  for (const Remedy& remedy : fit.remedies) {
    would += fmt::format("{}{} ({})", would.empty() ? "" : ", or ", remedy.set,
                         FormatMemory(remedy.total_bytes));
  }
  return fmt::format("{}; {}", need,
                     would.empty() ? "only a smaller model would fit" : "would fit: " + would);
}

StatusOr<int64_t> ParseMemory(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const std::pair<std::string_view, double> units[] = {{"", 1},
                                                       {"B", 1},
                                                       {"KiB", 1024},
                                                       {"MiB", 1048576.0},
                                                       {"M", 1048576.0},
                                                       {"GiB", 1073741824.0},
                                                       {"G", 1073741824.0},
                                                       {"MB", 1e6},
                                                       {"GB", 1e9},
                                                       {"TiB", 1099511627776.0}};
  for (const auto& [name, bytes] : units) {
    if (error == std::errc() && unit == name && number > 0 && number * bytes < 1e18) {
      return static_cast<int64_t>(number * bytes);
    }
  }
  return InvalidArgument("\"{}\" is no size of memory; write 8GiB or 512MiB", text);
}

}  // namespace trainyard::plan
