// metrics export: a job's points as files that other programs read.
#include <cstdio>
#include <filesystem>
#include <map>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"
#include "common/tensorboard.h"
#include "common/user_file.h"

namespace trainyard::cli {
namespace {

constexpr int kTries = 4;
constexpr size_t kPointsMax = 20'000'000;  // a gigabyte; beyond it, ask for fewer

// In the order in which they were stored.
using Points = std::vector<v1::MetricPoint>;

// A broken stream is read anew from the beginning: it carries no cursor.
StatusOr<Points> Fetch(Client& client, const MetricsOptions& options) {
  v1::WatchMetricsRequest request;
  request.set_name(NameOfRef(options.job));
  for (const std::string& name : options.names) request.add_metrics(name);
  request.set_max_points(options.max_points);
  grpc::Status status;
  for (int i = 0; i < kTries; ++i) {
    Points points;
    grpc::ClientContext context;
    client.Prepare(context, /*seconds=*/3600);
    const auto reader = client.jobs().WatchMetrics(&context, request);
    v1::WatchMetricsResponse response;
    while (points.size() <= kPointsMax && reader->Read(&response))
      points.insert(points.end(), response.points().begin(), response.points().end());
    if (points.size() > kPointsMax) {
      context.TryCancel();
      return ResourceExhausted("{} has more than {} points: choose with --metric or --max-points",
                               options.job, kPointsMax);
    }
    status = reader->Finish();
    if (status.ok()) return points;
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) break;
  }
  return client.Explain(status);
}

// What a later attempt did over again is dropped: one value per name and step.
Points WithoutUndone(Points points) {
  std::erase_if(points, [](const v1::MetricPoint& point) { return point.undone(); });
  return points;
}

// RFC 4180; names and numbers need no quotes.
std::string Csv(const Points& points) {
  std::string text = "attempt,step,name,value,time,undone\n";
  for (const v1::MetricPoint& point : points)
    text += fmt::format("{},{},{},{:.17g},{:.3f},{}\n", point.attempt(), point.step(), point.name(),
                        point.value(), SecondsSinceEpoch(point.time()), point.undone() ? 1 : 0);
  return text;
}

// A run of its own under `logs`, so that several jobs can be compared. The name depends on the job
// alone: a second export replaces the first.
Status WriteTensorBoard(const std::filesystem::path& logs, const v1::Job& job,
                        const Points& points) {
  const std::filesystem::path folder = logs / job.job_id();
  std::error_code error;  // the user's: others may read it as far as the umask lets them
  std::filesystem::create_directories(folder, error);
  if (error)
    return ErrnoStatus(error.value(), fmt::format("cannot make folder {}", folder.string()));
  const double begun = SecondsSinceEpoch(job.create_time());
  TensorBoardEvents events(begun);
  for (const v1::MetricPoint& point : points)
    events.Add(point.name(), point.step(), point.value(), SecondsSinceEpoch(point.time()));
  return WriteUserFile(folder / TensorBoardFileName(begun, job.job_id()), events.Take());
}

Status Export(Client& client, const MetricsOptions& options) {
  v1::GetJobRequest request;
  request.set_name(NameOfRef(options.job));
  ASSIGN_OR_RETURN(const v1::Job job,
                   client.Call(client.jobs(), &v1::JobService::Stub::GetJob, request));
  MetricsOptions of_job = options;
  of_job.job = job.job_id();  // a name may come to mean a newer job meanwhile
  ASSIGN_OR_RETURN(const Points points, Fetch(client, of_job));
  if (points.empty()) {
    const std::string what = options.names.empty() ? "metrics" : "such metrics";
    return NotFound("{} has no {} yet: it is {}", job.job_id(), what,
                    v1::JobState_Name(job.state()));
  }
  if (options.csv == "-") {
    const std::string text = Csv(points);
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else if (!options.csv.empty()) {
    RETURN_IF_ERROR(WriteUserFile(options.csv, Csv(points)));
    std::fprintf(stderr, "%s: %zu points of %s\n", options.csv.c_str(), points.size(),
                 job.job_id().c_str());
  }
  if (options.tensorboard.empty()) return OkStatus();
  RETURN_IF_ERROR(WriteTensorBoard(options.tensorboard, job, WithoutUndone(points)));
  std::fprintf(stderr, "look at it with: tensorboard --logdir %s\n", options.tensorboard.c_str());
  return OkStatus();
}

}  // namespace

int MetricsExport(const Place& place, const MetricsOptions& options) {
  if (options.tensorboard.empty() && options.csv.empty())
    return Fail(InvalidArgument("say what to make: --tensorboard FOLDER, --csv FILE, or both"));
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  const Status exported = Export(**client, options);
  return exported.ok() ? kOk : Fail(exported);
}

}  // namespace trainyard::cli
