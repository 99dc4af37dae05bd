#include <vector>

#include "tests/fuzz/memory_file.h"
#include "worker/checkpoint/gguf.h"
#include "worker/checkpoint/model_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard;
  const MemoryFile bytes(data, size);
  const auto file = worker::GgufFile::Open(bytes.path());
  if (!file.ok()) return 0;
  for (const worker::GgufTensor& tensor : file->tensors()) {
    // A value takes at least half a byte: no small file holds many.
    REQUIRE(tensor.count <= static_cast<int64_t>(2 * size));
    std::vector<float> values(static_cast<size_t>(tensor.count));
    REQUIRE(file->ReadFloats(tensor, 0, values).ok());
  }
  worker::GgufWeights::Open(bytes.path()).status().IgnoreError();
  return 0;
}
