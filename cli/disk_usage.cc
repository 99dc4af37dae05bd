// du: what the coordinator's store takes on its disk.
#include <cstdio>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace trainyard::cli {
namespace {

constexpr int kSeconds = 600;  // the coordinator walks its files

std::string UsageTable(const v1::GetUsageResponse& usage) {
  Table kinds({"KIND", "FILES", "SIZE"});
  for (const v1::KindUsage& kind : usage.kinds())
    kinds.Add(
        {kind.kind(), FormatCount(double(kind.files())), FormatBytes(double(kind.size_bytes()))});
  if (usage.disk_bytes() > 0)
    kinds.Add({"free", "",
               fmt::format("{} of {}", FormatBytes(double(usage.free_bytes())),
                           FormatBytes(double(usage.disk_bytes())))});
  if (usage.jobs().empty()) return kinds.ToString();
  Table jobs({"JOB", "CHECKPOINTS", "SIZE"});
  for (const v1::JobUsage& job : usage.jobs())
    jobs.Add(
        {job.job_id(), std::to_string(job.checkpoints()), FormatBytes(double(job.size_bytes()))});
  return kinds.ToString() + "\n" + jobs.ToString();
}

}  // namespace

int DiskUsage(const Place& place, Format format) {
  const auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  const auto usage = (*client)->Call((*client)->blobs(), &v1::BlobService::Stub::GetUsage,
                                     v1::GetUsageRequest(), kSeconds);
  if (!usage.ok()) return Fail(usage.status());
  Print(
      format, *usage, [&] { return UsageTable(*usage); },
      [&] {
        std::string names;
        for (const v1::JobUsage& job : usage->jobs()) names += job.job_id() + "\n";
        return names;
      });
  if (!usage->complete())
    std::fprintf(stderr, "there are more files than were counted: the sums are too low\n");
  if (usage->jobs_left_out() > 0)
    std::fprintf(stderr, "%ld smaller jobs are left out\n",
                 static_cast<long>(usage->jobs_left_out()));
  return kOk;
}

}  // namespace trainyard::cli
