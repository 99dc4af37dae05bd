// evaluate: what a job of kind evaluate found.
#include <cstdio>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"

namespace trainyard::cli {
namespace {

constexpr int64_t kReportBytesMax = int64_t{1} << 30;

struct Report {
  nlohmann::ordered_json json;
  std::string table;
};

StatusOr<Report> ReadReport(const Place& place, const std::string& job) {
  const std::string ref = job.starts_with("job:") ? job : "job:" + job;
  ASSIGN_OR_RETURN(const std::filesystem::path folder, CheckpointFolder(place, ref));
  const StatusOr<std::string> text = ReadFile(folder / "report.json", kReportBytesMax);
  if (absl::IsNotFound(text.status()))
    return NotFound("job {} has checkpoints, but no report: jobs of kind evaluate write one", job);
  RETURN_IF_ERROR(text.status());
  Report report;
  report.json = nlohmann::ordered_json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (report.json.is_discarded())
    return DataLoss("{} is no JSON", (folder / "report.json").string());
  ASSIGN_OR_RETURN(report.table, ReadFile(folder / "report.txt", kReportBytesMax));
  return report;
}

}  // namespace

int Evaluate(const Place& place, const std::string& job, Format format) {
  const StatusOr<Report> report = ReadReport(place, job);
  if (!report.ok()) return Fail(report.status());
  PrintJson(
      format, report->json, [&] { return report->table; }, [&] { return job + "\n"; });
  return kOk;
}

}  // namespace trainyard::cli
