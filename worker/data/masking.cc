#include "worker/data/masking.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/require.h"

namespace trainyard::worker {
namespace {

using Bits = std::array<uint32_t, 4>;

// The draw's first half, uniform in [0, 1).
double Uniform(const Bits& bits) {
  return static_cast<double>((uint64_t{bits[0]} << 32 | bits[1]) >> 11) * 0x1.0p-53;
}

// Uniform in [0, n) from 32 bits; the bias is below n / 2^32.
size_t Below(uint32_t bits, size_t n) { return static_cast<size_t>(uint64_t{bits} * n >> 32); }

// What the model sees at a chosen place.
int32_t Shown(const Bits& bits, int32_t token, const MaskingVocabulary& vocabulary) {
  const double which = static_cast<double>(bits[2]) * 0x1.0p-32;
  if (which < 0.8) return vocabulary.mask;
  if (which < 0.9) return vocabulary.ordinary_ids[Below(bits[3], vocabulary.ordinary_ids.size())];
  return token;
}

// The draws of one row, by place.
class RowDraws {
 public:
  RowDraws(const Rng& rng, const MaskedRow& row) : rng_(rng), row_(row) {
    REQUIRE(row.source < (1u << 16) && row.epoch >= 0 && row.epoch < (int64_t{1} << 40));
    REQUIRE(row.row >= 0 && row.row < (int64_t{1} << 40));
  }
  Bits At(int64_t place) const {
    return rng_.Bits(static_cast<uint64_t>(row_.epoch) | uint64_t{row_.source} << 40,
                     static_cast<uint64_t>(row_.row) << 24 | static_cast<uint64_t>(place));
  }

 private:
  const Rng& rng_;
  const MaskedRow& row_;
};

}  // namespace

StatusOr<Masking> Masking::Create(std::shared_ptr<const MaskingVocabulary> vocabulary,
                                  const MaskingOptions& options, uint64_t seed) {
  REQUIRE(vocabulary != nullptr);
  if (!(options.probability > 0) || options.probability > 1)
    return WithField(InvalidArgument("masking.probability is {}; it must be above 0 and at most 1",
                                     options.probability),
                     "masking.probability");
  return Masking(std::move(vocabulary), options, seed);
}

void Masking::Apply(const MaskedRow& row, int64_t begin, Batch& batch) const {
  const int64_t places = batch.tokens() - begin;
  REQUIRE(begin >= 0 && places >= 0 && places <= kRowPlacesMax);
  const RowDraws draws(rng_, row);
  const auto first = static_cast<size_t>(begin);
  batch.target_ids_T.resize(batch.token_ids_T.size());
  std::fill(batch.target_ids_T.begin() + begin, batch.target_ids_T.end(), kNoTarget);

  // Units that are chosen together, each by the place it begins at: words, or single tokens.
  std::vector<int64_t> unit_begins;
  std::vector<int64_t> unit_of_place(static_cast<size_t>(places), -1);  // -1: never chosen
  for (size_t i = 0; i < unit_of_place.size(); ++i) {
    const int32_t token = batch.token_ids_T[first + i];
    if (!vocabulary_->is_ordinary(token)) continue;
    const bool continues = options_.whole_word && i > 0 && unit_of_place[i - 1] >= 0 &&
                           batch.position_ids_T[first + i] > 0 &&
                           vocabulary_->Continues(batch.token_ids_T[first + i - 1], token);
    if (!continues) unit_begins.push_back(static_cast<int64_t>(i));
    unit_of_place[i] = static_cast<int64_t>(unit_begins.size()) - 1;
  }
  if (unit_begins.empty()) return;

  std::vector<bool> chosen(unit_begins.size());
  bool any = false;
  for (size_t unit = 0; unit < chosen.size(); ++unit) {
    chosen[unit] = Uniform(draws.At(unit_begins[unit])) < options_.probability;
    any |= chosen[unit];
  }
  // The place past the last possible one draws for the row as a whole.
  if (!any) chosen[Below(draws.At(kRowPlacesMax)[0], chosen.size())] = true;

  for (size_t i = 0; i < unit_of_place.size(); ++i) {
    if (unit_of_place[i] < 0 || !chosen[static_cast<size_t>(unit_of_place[i])]) continue;
    int32_t& token = batch.token_ids_T[first + i];
    batch.target_ids_T[first + i] = token;
    token = Shown(draws.At(static_cast<int64_t>(i)), token, *vocabulary_);
  }
}

int64_t Masking::OnePlace(const MaskedRow& row, int64_t begin, const Batch& batch) const {
  REQUIRE(begin >= 0 && batch.tokens() - begin <= kRowPlacesMax);
  std::vector<int64_t> places;
  for (int64_t i = begin; i < batch.tokens(); ++i)
    if (vocabulary_->is_ordinary(batch.token_ids_T[static_cast<size_t>(i)])) places.push_back(i);
  if (places.empty()) return -1;
  return places[Below(RowDraws(rng_, row).At(kRowPlacesMax)[1], places.size())];
}

StatusOr<RowShape> RowShapeOf(int64_t max_length, const Masking* masking) {
  if (masking == nullptr) return RowShape{.length = max_length};
  const int64_t around = masking->vocabulary().around();
  if (max_length <= 2 * around || max_length > Masking::kRowPlacesMax)
    return WithField(
        InvalidArgument(
            "train.max_length is {}: with the {} special tokens that the tokenizer puts "
            "around a text it must be above {} and at most {}",
            max_length, around, 2 * around, Masking::kRowPlacesMax),
        "train.max_length");
  return RowShape{.length = max_length, .around = around, .without_end = true};
}

}  // namespace trainyard::worker
