// Measured paces, kept in a file: measuring takes a second, and the answer holds as long as the
// processor, the kernels' environment and the program stay what they are.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "common/plan/probe.h"
#include "common/status.h"

namespace trainyard::plan {

struct PaceSource {
  std::filesystem::path file;     // where they are kept; empty: nowhere
  std::filesystem::path trainer;  // the program that measures
  // Asked several times a second while it does; false ends it with Cancelled.
  std::function<bool()> go_on;
};

// As kept, or measured by a process of its own (a crash, or memory that it takes, is not the
// caller's) and kept. A file that cannot be read is begun anew, one that cannot be written is not
// an error. Errors of the measurement.
StatusOr<Paces> FindPaces(const Probe& probe, const PaceSource& source);

// What a pace depends on beside the probe: the processor's name and flags (`cpuinfo`: the text of
// /proc/cpuinfo), the variables that hold kernels back, and which program it is.
std::string HostOfPaces(std::string_view cpuinfo, const std::filesystem::path& trainer);

// The kept ones as JSON text; at most kPacesKept, the newest first.
inline constexpr size_t kPacesKept = 64;
StatusOr<Paces> LookUpPaces(std::string_view kept, const std::string& key);
std::string AddPaces(std::string_view kept, const std::string& key, const Probe& probe,
                     const Paces& paces);

}  // namespace trainyard::plan
