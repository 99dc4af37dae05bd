// What tests in Python ask our GGUF code:
//   gguf_probe dequantise FILE     every tensor's values in the order of their bytes, as float32
//   gguf_probe quantise TYPE       float32 from stdin as blocks of that type
//   gguf_probe copy FROM TO        a file again: its keys, its tensors in their types
#include <cstdio>
#include <string>

#include "worker/checkpoint/ggml_blocks.h"
#include "worker/checkpoint/gguf.h"
#include "worker/checkpoint/gguf_writer.h"

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

Status Quantise(const std::string& name) {
  for (uint32_t number = 0; number < 64; ++number) {
    const auto type = GgmlTypeFromNumber(number);
    if (!type.has_value() || RowOf(*type).name != name) continue;
    std::vector<float> values(size_t{1} << 22);
    values.resize(std::fread(values.data(), 4, values.size(), stdin));
    const GgmlTypeRow& row = RowOf(*type);
    std::vector<std::byte> blocks(values.size() / static_cast<size_t>(row.block_values) *
                                  static_cast<size_t>(row.block_bytes));
    RETURN_IF_ERROR(QuantiseBlocks(*type, values, blocks));
    return std::fwrite(blocks.data(), 1, blocks.size(), stdout) == blocks.size()
               ? OkStatus()
               : Internal("cannot write");
  }
  return InvalidArgument("no type {}", name);
}

Status Copy(const char* from, const char* to) {
  ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(from));
  GgufWriter::Keys keys(file.metadata().values.begin(), file.metadata().values.end());
  std::vector<GgufTensorSpec> specs;
  for (const GgufTensor& tensor : file.tensors())
    specs.push_back({tensor.name, tensor.type, tensor.shape});
  ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::Create(to, keys, specs));
  for (const GgufTensor& tensor : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.count));
    RETURN_IF_ERROR(file.ReadFloats(tensor, 0, values));
    RETURN_IF_ERROR(writer.Write(values));
  }
  return writer.Finish().status();
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  Status status =
      InvalidArgument("usage: gguf_probe dequantise FILE | quantise TYPE | copy FROM TO");
  if (verb == "dequantise" && argc == 3) status = Dequantise(argv[2]);
  if (verb == "quantise" && argc == 3) status = Quantise(argv[2]);
  if (verb == "copy" && argc == 4) status = Copy(argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", MessageOf(status).c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) { return trainyard::worker::Main(argc, argv); }
