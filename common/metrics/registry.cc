#include "common/metrics/registry.h"

#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string>

namespace trainyard {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily One(std::string_view name, std::string_view help, MetricType type, double value) {
  FamilyBuilder builder(name, help, type);
  builder.Add({}, value);
  return builder.Take();
}

// Fields 14, 15 (user and system ticks), 22 (start, ticks since boot), 24 (resident pages) of
// proc(5)'s stat; the name in field 2 may hold anything up to its last parenthesis.
std::vector<MetricFamily> ProcessFamilies() {
  std::array<char, 1024> text{};
  FILE* file = std::fopen("/proc/self/stat", "r");
  if (file == nullptr) return {};
  const size_t n = std::fread(text.data(), 1, text.size() - 1, file);
  std::fclose(file);
  const std::string stat(text.data(), n);
  std::istringstream fields(stat.substr(std::min(stat.rfind(')') + 1, stat.size())));
  std::vector<std::string> field{"", "", ""};  // as if counted from 1, after pid and name
  for (std::string word; fields >> word;) field.push_back(word);
  if (field.size() < 25) return {};
  const double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::error_code error;
  const auto fds = std::distance(std::filesystem::directory_iterator("/proc/self/fd", error),
                                 std::filesystem::directory_iterator());
  return {One("process_cpu_seconds_total", "Processor time, user and system.", MetricType::Counter,
              (std::stod(field[14]) + std::stod(field[15])) / tick),
          One("process_resident_memory_bytes", "Memory in RAM.", MetricType::Gauge,
              std::stod(field[24]) * page),
          One("process_open_fds", "Open file descriptors.", MetricType::Gauge,
              static_cast<double>(fds))};
}

}  // namespace

MetricsRegistry::MetricsRegistry() : registry_(std::make_shared<prometheus::Registry>()) {}

void MetricsRegistry::Add(std::weak_ptr<prometheus::Collectable> collectable) {
  absl::MutexLock lock(&mu_);
  std::erase_if(collectables_, [](const auto& weak) { return weak.expired(); });
  collectables_.push_back(std::move(collectable));
}

std::string MetricsRegistry::Exposition() const {
  std::vector<MetricFamily> families = registry_->Collect();
  std::vector<std::weak_ptr<prometheus::Collectable>> collectables;
  {
    absl::MutexLock lock(&mu_);
    collectables = collectables_;
  }
  for (const auto& weak : collectables)
    if (const auto collectable = weak.lock())
      for (MetricFamily& family : collectable->Collect()) families.push_back(std::move(family));
  for (MetricFamily& family : ProcessFamilies()) families.push_back(std::move(family));
  // A family without series would print a header and nothing under it.
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return prometheus::TextSerializer().Serialize(families);
}

FamilyBuilder::FamilyBuilder(std::string_view name, std::string_view help, MetricType type) {
  family_.name = name;
  family_.help = help;
  family_.type = type;
}

void FamilyBuilder::Add(const Labels& labels, double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, label] : labels) metric.label.push_back({name, label});
  if (family_.type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family_.metric.push_back(std::move(metric));
}

}  // namespace trainyard
