// Masked language modelling (Devlin et al. 2018, arXiv:1810.04805, section 3.1): some places of a
// row are chosen; of these 80 % show the mask token, 10 % a random ordinary token, 10 % what was
// there; the model is to say what was there. Masks are dynamic (Liu et al. 2019, arXiv:1907.11692,
// section 4.1): every epoch draws new ones.
//
// Everything is a function of (seed, source, epoch, row): there is no state to save, and neither
// ranks nor micro-batches change a mask.
#pragma once

#include <cstdint>
#include <memory>

#include "common/rng.h"
#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/data/masking_vocabulary.h"
#include "worker/data/row_plan.h"

namespace trainyard::worker {

struct MaskingOptions {
  double probability = 0.15;  // of each ordinary token, or word, to be chosen
  bool whole_word = false;    // the tokens of a word are chosen together
};

// Which row is masked.
struct MaskedRow {
  uint32_t source = 0;  // below 2^16
  int64_t epoch = 0;    // below 2^40
  int64_t row = 0;      // of that epoch; below 2^40
};

// Rows of validation data are of this source, epoch 0: masked the same every time.
constexpr uint32_t kValidationSource = 0xFFFF;

class Masking {
 public:
  static constexpr int64_t kRowPlacesMax = (int64_t{1} << 24) - 1;

  // InvalidArgument when the probability is not above 0 and at most 1.
  static StatusOr<Masking> Create(std::shared_ptr<const MaskingVocabulary> vocabulary,
                                  const MaskingOptions& options, uint64_t seed);

  const MaskingVocabulary& vocabulary() const { return *vocabulary_; }
  const MaskingOptions& options() const { return options_; }

  // Masks the places from `begin` to the batch's end, which are one row of at most kRowPlacesMax,
  // as yet unmasked: chosen places get their token as target and what the model sees instead; all
  // others get kNoTarget. Special tokens are never chosen. Where the row has an ordinary token, at
  // least one place (word) is chosen, a random one if chance chose none.
  void Apply(const MaskedRow& row, int64_t begin, Batch& batch) const;
  // An ordinary place of these from `begin` on, of an unmasked row, drawn evenly; -1: there is
  // none.
  int64_t OnePlace(const MaskedRow& row, int64_t begin, const Batch& batch) const;

 private:
  Masking(std::shared_ptr<const MaskingVocabulary> vocabulary, const MaskingOptions& options,
          uint64_t seed)
      : vocabulary_(std::move(vocabulary)),
        options_(options),
        rng_{.seed = seed, .purpose = Purpose::kMask} {}

  std::shared_ptr<const MaskingVocabulary> vocabulary_;
  MaskingOptions options_;
  Rng rng_;
};

// Rows of `max_length` places; those of `masking` (null: none is masked) are made of texts in the
// tokenizer's template. InvalidArgument when a row has too few places for that.
StatusOr<RowShape> RowShapeOf(int64_t max_length, const Masking* masking);

}  // namespace trainyard::worker
