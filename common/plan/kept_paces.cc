#include "common/plan/kept_paces.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include "common/child_output.h"
#include "common/files.h"
#include "common/machine.h"

namespace trainyard::plan {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kVersion = 1;  // grows when the same probe is measured in another way
constexpr int64_t kFileBytesMax = 1 << 20;
constexpr absl::Duration kMeasuringMax = absl::Seconds(60);

// The first line of /proc/cpuinfo with this key.
std::string LineOf(std::string_view cpuinfo, std::string_view key) {
  std::istringstream lines{std::string(cpuinfo)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) return line;
  }
  return "";
}

StatusOr<Paces> Measure(const Probe& probe, const PaceSource& source) {
  ASSIGN_OR_RETURN(const std::string text,
                   OutputOf({source.trainer.string(), "tool", "paces", ProbeToJson(probe).dump()},
                            {.time_max = kMeasuringMax, .go_on = source.go_on}));
  return PacesFromJson(json::parse(text, nullptr, /*allow_exceptions=*/false));
}

// The list of what is kept; empty when the text is not one.
ordered_json KeptList(std::string_view kept) {
  ordered_json parsed = ordered_json::parse(kept, nullptr, /*allow_exceptions=*/false);
  const bool good = parsed.is_object() && parsed.value("version", json()) == kVersion &&
                    parsed.contains("paces") && parsed["paces"].is_array();
  return good ? parsed["paces"] : ordered_json::array();
}

bool IsOf(const ordered_json& entry, const std::string& key) {
  return entry.is_object() && entry.contains("key") && entry["key"] == key;
}

}  // namespace

std::string HostOfPaces(std::string_view cpuinfo, const std::filesystem::path& trainer) {
  std::string host =
      fmt::format("{}\n{}\n", LineOf(cpuinfo, "model name"), LineOf(cpuinfo, "flags"));
  for (const char* name : kKernelVariables) {
    const char* value = std::getenv(name);
    host += fmt::format("{}={}\n", name, value == nullptr ? "" : value);
  }
  std::error_code error;
  const auto program = std::filesystem::canonical(trainer, error);
  const auto size = std::filesystem::file_size(program, error);
  const auto written = std::filesystem::last_write_time(program, error).time_since_epoch().count();
  return host + fmt::format("program {} {} {}\n", program.string(), error ? 0 : size, written);
}

StatusOr<Paces> LookUpPaces(std::string_view kept, const std::string& key) {
  for (const ordered_json& entry : KeptList(kept)) {
    if (IsOf(entry, key)) return PacesFromJson(json(entry));
  }
  return NotFound("nothing is kept of this probe");
}

std::string AddPaces(std::string_view kept, const std::string& key, const Probe& probe,
                     const Paces& paces) {
  ordered_json list = ordered_json::array();
  ordered_json entry = {
      {"key", key},
      {"of", fmt::format("{} {}, {} layers of {}, {} x {} tokens, {} threads", WorkName(probe.work),
                         probe.model.model_type, probe.model.layers, probe.model.hidden_size,
                         probe.rows, probe.length, probe.threads)}};
  entry.update(PacesToJson(paces));
  list.push_back(std::move(entry));
  for (ordered_json& old : KeptList(kept)) {
    if (list.size() < kPacesKept && !IsOf(old, key)) list.push_back(std::move(old));
  }
  return ordered_json{{"version", kVersion}, {"paces", std::move(list)}}.dump(1) + "\n";
}

StatusOr<Paces> FindPaces(const Probe& probe, const PaceSource& source) {
  const std::string key =
      Sha256(HostOfPaces(ReadCpuInfo(), source.trainer) + ProbeToJson(probe).dump());
  const auto kept = [&] {
    return source.file.empty() ? std::string()
                               : ReadFile(source.file, kFileBytesMax).value_or(std::string());
  };
  if (StatusOr<Paces> found = LookUpPaces(kept(), key); found.ok()) return found;
  ASSIGN_OR_RETURN(const Paces paces, Measure(probe, source));
  if (!source.file.empty()) {
    // Read again: another job may have measured something else meanwhile.
    WriteFileAtomically(source.file, AddPaces(kept(), key, probe, paces)).IgnoreError();
  }
  return paces;
}

}  // namespace trainyard::plan
