#include "worker/loop/precision.h"

#include <fstream>
#include <sstream>

namespace trainyard::worker {
namespace {

// True when `flag` is a word of the first "flags" line.
bool HasFlag(std::string_view cpuinfo, std::string_view flag) {
  const size_t begin = cpuinfo.find("\nflags");
  if (begin == std::string_view::npos) return false;
  const std::string line(cpuinfo.substr(begin + 1, cpuinfo.find('\n', begin + 1) - begin - 1));
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    if (word == flag) return true;
  }
  return false;
}

}  // namespace

StatusOr<Precision> ResolvePrecision(const std::string& name, Device device,
                                     std::string_view cpuinfo) {
  if (name == "fp32") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBfloat16;
  if (name != "auto") {
    return WithField(InvalidArgument("train.precision is '{}'; write fp32, bf16 or auto", name),
                     "train.precision");
  }
  const bool fast =
      device == Device::kCuda || HasFlag(cpuinfo, "avx512_bf16") || HasFlag(cpuinfo, "amx_bf16");
  return fast ? Precision::kBfloat16 : Precision::kFloat32;
}

std::string ReadCpuInfo() {
  std::ifstream file("/proc/cpuinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string_view PrecisionName(Precision precision) {
  return precision == Precision::kBfloat16 ? "bf16" : "fp32";
}

}  // namespace trainyard::worker
