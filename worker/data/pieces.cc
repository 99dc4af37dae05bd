#include "worker/data/pieces.h"

#include <utility>

#include "common/require.h"

namespace trainyard::worker {
namespace {

bool IsAsciiWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsWhiteSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The last cut in (0, limit] before a `wanted` byte whose predecessor is fit; 0: none.
template <class Fit>
size_t LastCutBefore(std::string_view text, size_t limit, char wanted, Fit fit) {
  for (size_t cut = limit; cut > 0; --cut)
    if (text[cut] == wanted && fit(text[cut - 1])) return cut;
  return 0;
}

}  // namespace

size_t CutPoint(std::string_view text, size_t limit) {
  REQUIRE(limit >= 4 && text.size() > limit);
  const auto not_white = [](char c) { return !IsWhiteSpace(c); };
  if (const size_t cut = LastCutBefore(text, limit, '\n', IsAsciiWordByte)) return cut;
  if (const size_t cut = LastCutBefore(text, limit, ' ', IsAsciiWordByte)) return cut;
  if (const size_t cut = LastCutBefore(text, limit, '\n', not_white)) return cut;
  size_t cut = limit;
  while ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // inside a character
  return cut;
}

Status PieceCutter::Text(std::string_view text) {
  open_.append(text);
  size_t begin = 0;
  while (open_.size() - begin > piece_bytes_) {
    const size_t cut = CutPoint(std::string_view(open_).substr(begin), piece_bytes_);
    RETURN_IF_ERROR(Add(open_.substr(begin, cut), /*ends_document=*/false));
    begin += cut;
  }
  open_.erase(0, begin);
  return OkStatus();
}

Status PieceCutter::EndDocument() {
  return Add(std::exchange(open_, std::string()), /*ends_document=*/true);
}

Status PieceCutter::Add(std::string text, bool ends_document) {
  batch_bytes_ += text.size();
  batch_.push_back({std::move(text), ends_document});
  if (batch_bytes_ < kBatchBytes && batch_.size() < kBatchPieces) return OkStatus();
  return Finish();
}

Status PieceCutter::Finish() {
  if (batch_.empty()) return OkStatus();
  const Status status = on_batch_(batch_);
  batch_.clear();
  batch_bytes_ = 0;
  return status;
}

}  // namespace trainyard::worker
