// What tests in Python ask our GGUF code:
//   gguf_probe dequantise FILE     every tensor's values in the order of their bytes, as float32
#include <cstdio>
#include <cstring>

#include "worker/checkpoint/gguf.h"

namespace trainyard::worker {
namespace {

Status Dequantise(const char* path) {
  ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  for (const GgufTensor& tensor : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.count));
    RETURN_IF_ERROR(file.ReadFloats(tensor, 0, values));
    if (std::fwrite(values.data(), 4, values.size(), stdout) != values.size())
      return Internal("cannot write");
  }
  return OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 3 || std::strcmp(argv[1], "dequantise") != 0) {
    std::fprintf(stderr, "usage: gguf_probe dequantise FILE\n");
    return 2;
  }
  const Status status = Dequantise(argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", MessageOf(status).c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) { return trainyard::worker::Main(argc, argv); }
