#include "coordinator/service/usage_series.h"

#include "common/metrics/registry.h"

namespace trainyard::coordinator {

using prometheus::MetricType;

std::vector<prometheus::MetricFamily> UsageSeries::Collect() const {
  const auto usage = meter_.newest();
  if (usage == nullptr) return {};
  FamilyBuilder bytes("trainyard_store_bytes", "Bytes of the coordinator's store, by kind.",
                      MetricType::Gauge);
  for (const UsageOfKind& kind : usage->kinds) bytes.Add({{"kind", kind.kind}}, double(kind.bytes));
  std::vector<prometheus::MetricFamily> families;
  families.push_back(bytes.Take());
  if (usage->disk_bytes == 0) return families;
  FamilyBuilder free("trainyard_store_free_bytes", "Free bytes of the disk of the BlobStore.",
                     MetricType::Gauge);
  free.Add({}, double(usage->free_bytes));
  FamilyBuilder size("trainyard_store_disk_bytes", "Size of the disk of the BlobStore.",
                     MetricType::Gauge);
  size.Add({}, double(usage->disk_bytes));
  families.push_back(free.Take());
  families.push_back(size.Take());
  return families;
}

}  // namespace trainyard::coordinator
