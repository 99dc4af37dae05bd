// The first byte says how many bytes come at a time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/link/cbor.h"
#include "common/link/frame.h"
#include "common/link/messages.h"

namespace {

void DecodeAny(std::string_view cbor) {
  using namespace trainyard::link;
  Decode<Directive>(cbor).status().IgnoreError();
  Decode<RankStatus>(cbor).status().IgnoreError();
  Decode<Hello>(cbor).status().IgnoreError();
  Decode<Welcome>(cbor).status().IgnoreError();
  Decode<MetricPoints>(cbor).status().IgnoreError();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard::link;
  if (size == 0) return 0;
  const size_t piece = 1 + data[0];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  // The payload alone too: a checksum keeps most of what a fuzzer makes from getting that far.
  DecodeAny(rest);
  DecodeTelemetry(rest).status().IgnoreError();
  FrameReader reader;
  while (!rest.empty()) {
    reader.Append(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
    while (true) {
      const auto frame = reader.Next();
      if (!frame.ok()) return 0;
      if (!frame->has_value()) break;
      DecodeAny((*frame)->payload);
    }
  }
  return 0;
}
