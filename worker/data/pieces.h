// Long documents are tokenized piece by piece, so that memory is bounded by the piece and not by
// the document. Where a piece ends depends on the text alone, never on how it was read.
//
// A cut is made before a newline (else a space) that follows an ASCII letter or digit: there the
// splitting rule of GPT-2 and of its successors ends a word whatever comes before or after, so the
// tokens are those of the uncut document. Text that offers no such place within a piece is cut
// before a newline that follows anything but white space, else between two characters; and
// tokenizers that put a mark before every text (SentencePiece's) put one before every piece. Either
// costs at most a token per piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

constexpr size_t kPieceBytes = size_t{1} << 20;

// Where to cut `text`, longer than `limit`: in (0, limit]. `text` is valid UTF-8 (its end may be in
// the middle of a character); limit >= 4.
size_t CutPoint(std::string_view text, size_t limit);

struct TextPiece {
  std::string text;
  bool ends_document = false;
};

// Cuts documents into pieces and hands them on by the batch, so that they can be encoded on several
// threads. Holds at most kBatchBytes and one piece more.
class PieceCutter {
 public:
  using OnBatch = std::function<Status(std::span<const TextPiece>)>;
  static constexpr size_t kBatchBytes = size_t{8} << 20;
  static constexpr size_t kBatchPieces = 16384;

  explicit PieceCutter(OnBatch on_batch, size_t piece_bytes = kPieceBytes)
      : on_batch_(std::move(on_batch)), piece_bytes_(piece_bytes) {}
  Status Text(std::string_view text);
  Status EndDocument();
  Status Finish();  // hands on what is left

 private:
  Status Add(std::string text, bool ends_document);
  const OnBatch on_batch_;
  const size_t piece_bytes_;
  std::string open_;  // of the document begun, not yet cut
  std::vector<TextPiece> batch_;
  size_t batch_bytes_ = 0;
};

}  // namespace trainyard::worker
