#include <hwy/targets.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "worker/ops/cpu_kernels.h"

namespace trainyard::worker {
namespace {

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// Leaves the wanted instruction set the best one allowed and returns its name.
std::string ChooseTarget() {
  const char* wanted = std::getenv("TRAINYARD_KERNELS");
  const std::string name = wanted == nullptr ? "" : Upper(wanted);
  if (name == "OFF") return "off";
  // Lower bits are better instruction sets.
  for (int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    if (!name.empty() && name != hwy::TargetName(target)) continue;
    hwy::DisableTargets(target - 1);
    return hwy::TargetName(target);
  }
  // A name this machine does not know: the best it has.
  return hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets());
}

}  // namespace

const std::string& KernelTarget() {
  static const std::string target = ChooseTarget();
  return target;
}

bool KernelsOn() { return KernelTarget() != "off"; }

}  // namespace trainyard::worker
