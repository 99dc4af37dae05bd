#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/job_spec/json.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "common/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard;
  const auto job = ParseJobYaml({reinterpret_cast<const char*>(data), size}, "job.yaml");
  if (!job.ok()) return 0;
  const auto resolved = Resolve(*job);
  if (!resolved.ok()) return 0;
  // What was resolved can be stored and read again.
  REQUIRE(ParseJobJson(JobSpecToJson(resolved->spec)).ok());
  return 0;
}
