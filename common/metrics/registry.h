// The process's metrics and their page. Names: docs/protocol.md, "Metrics".
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <prometheus/collectable.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trainyard {

// The Content-Type of Exposition.
inline constexpr char kExpositionType[] = "text/plain; version=0.0.4; charset=utf-8";

// Thread-safe.
class MetricsRegistry {
 public:
  MetricsRegistry();

  // For families that live as long as the process: prometheus::BuildCounter().Name(...).Register().
  prometheus::Registry& prometheus() { return *registry_; }
  // Asked at every scrape until it is gone: for series whose labels come and go.
  void Add(std::weak_ptr<prometheus::Collectable> collectable);
  // Everything, in the Prometheus text format. Includes process_* of this process.
  std::string Exposition() const;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  mutable absl::Mutex mu_;
  std::vector<std::weak_ptr<prometheus::Collectable>> collectables_ ABSL_GUARDED_BY(mu_);
};

// A family of one type with labelled values, for Collectables.
class FamilyBuilder {
 public:
  FamilyBuilder(std::string_view name, std::string_view help, prometheus::MetricType type);
  // Label names and values in turn.
  using Labels = std::vector<std::pair<std::string, std::string>>;
  void Add(const Labels& labels, double value);
  bool empty() const { return family_.metric.empty(); }
  prometheus::MetricFamily Take() { return std::move(family_); }

 private:
  prometheus::MetricFamily family_;
};

}  // namespace trainyard
