#include <vector>

#include "tests/fuzz/memory_file.h"
#include "worker/checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard;
  const MemoryFile bytes(data, size);
  const auto file = worker::SafetensorsFile::Open(bytes.path());
  if (!file.ok()) return 0;
  for (const worker::TensorEntry& tensor : file->tensors()) {
    REQUIRE(tensor.bytes <= static_cast<int64_t>(size) && tensor.begin >= 8);
    std::vector<std::byte> raw(static_cast<size_t>(tensor.bytes));
    REQUIRE(file->ReadBytes(tensor, 0, raw).ok());
    std::vector<float> values(static_cast<size_t>(tensor.count));
    file->ReadFloats(tensor, 0, values).IgnoreError();  // InvalidArgument: not of a float type
    REQUIRE(file->Find(tensor.name) != nullptr);
  }
  return 0;
}
