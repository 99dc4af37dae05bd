// list, get, describe, events, explain, cancel, retry, wait, worker list: one call, printed.
#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace trainyard::cli {
namespace {

std::string Age(const google::protobuf::Timestamp& time) {
  return FormatSeconds(NowSeconds() - SecondsSinceEpoch(time));
}

std::string Progress(const v1::Job& job) {
  return job.max_steps() > 0 ? fmt::format("{}/{}", job.step(), job.max_steps()) : "-";
}

std::string MetricOr(const v1::Job& job, const std::string& name, const char* format) {
  const auto it = job.latest_metrics().find(name);
  return it == job.latest_metrics().end() ? "-" : fmt::format(fmt::runtime(format), it->second);
}

std::string JobTable(const std::vector<v1::Job>& jobs, bool wide) {
  std::vector<std::string> header = {"ID", "KIND", "STATE", "STEP", "LOSS", "AGE", "REASON"};
  if (wide)
    header.insert(header.end(), {"ATTEMPT", "TOKENS/S", "CHECKPOINT", "CREATOR", "MESSAGE"});
  Table table(header);
  for (const v1::Job& job : jobs) {
    std::vector<std::string> row = {job.job_id(),
                                    job.kind(),
                                    ColourState(v1::JobState_Name(job.state())),
                                    Progress(job),
                                    MetricOr(job, "loss", "{:.3f}"),
                                    Age(job.create_time()),
                                    job.reason()};
    if (wide)
      row.insert(row.end(),
                 {std::to_string(job.attempt()), MetricOr(job, "tokens_per_second", "{:.0f}"),
                  job.last_checkpoint_step() > 0 ? std::to_string(job.last_checkpoint_step()) : "-",
                  job.creator(), job.message()});
    table.Add(row);
  }
  return table.ToString();
}

std::string Description(const v1::Job& job) {
  std::string text;
  const auto line = [&](const char* key, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<14} {}\n", key, value);
  };
  line("Job", job.job_id());
  line("Kind", job.kind());
  line("State", ColourState(v1::JobState_Name(job.state())));
  line("Why", job.message());
  line("Reason", job.reason().empty() ? ""
                                      : fmt::format("{} (owner {})", job.reason(),
                                                    v1::ReasonOwner_Name(job.reason_owner())));
  line("Step", Progress(job));
  line("Created", fmt::format("{} ago by {}", Age(job.create_time()), job.creator()));
  line("Checkpoint", job.last_checkpoint_step() > 0
                         ? fmt::format("step {}", job.last_checkpoint_step())
                         : "none recorded");
  for (const v1::Choice& choice : job.choices())
    line("Chosen", fmt::format("{} is {}: {}", choice.field(), choice.value(), choice.why()));
  for (const auto& [name, value] :
       std::map<std::string, double>(job.latest_metrics().begin(), job.latest_metrics().end()))
    line(("  " + name).c_str(), fmt::format("{:.6g}", value));
  if (job.attempts_size() > 0) {
    text += "\nAttempts\n";
    Table table({"ATTEMPT", "RANK", "ROLE", "WORKER", "SLOT", "SHARE", "PHASE", "STEP", "ENDED"});
    for (const v1::Attempt& attempt : job.attempts())
      for (const v1::Rank& rank : attempt.ranks())
        table.Add({std::to_string(attempt.number()), std::to_string(rank.rank()), rank.role(),
                   rank.worker(), std::to_string(rank.slot()), fmt::format("{:g}", rank.share()),
                   PhaseOf(rank), std::to_string(rank.step()),
                   attempt.end_reason().empty()
                       ? "-"
                       : fmt::format("{}: {}", attempt.end_reason(), attempt.end_message())});
    text += table.ToString();
  }
  text += "\nSpec (resolved; with where each value came from)\n";
  Table spec({"FIELD", "FROM"});
  for (const auto& [field, origin] :
       std::map<std::string, std::string>(job.origins().begin(), job.origins().end()))
    spec.Add({field, origin});
  if (job.origins_size() > 0) text += spec.ToString() + "\n";
  text += ToYaml(job.spec());
  return text;
}

// Calls `use` with a connected client; connection errors are printed.
template <class Use>
int WithClient(const Place& place, Use use) {
  auto client = Client::Connect(place);
  return client.ok() ? use(**client) : Fail(client.status());
}

StatusOr<v1::Job> FetchJob(Client& client, const std::string& ref) {
  v1::GetJobRequest request;
  request.set_name(NameOfRef(ref));
  return client.Call(client.jobs(), &v1::JobService::Stub::GetJob, request);
}

int PrintJob(const StatusOr<v1::Job>& job, Format format, bool describe) {
  if (!job.ok()) return Fail(job.status());
  Print(
      format, *job,
      [&] { return describe ? Description(*job) : JobTable({*job}, format == Format::kWide); },
      [&] { return job->job_id() + "\n"; });
  return kOk;
}

}  // namespace

int List(const Place& place, const ListOptions& options, Format format) {
  return WithClient(place, [&](Client& client) {
    v1::ListJobsRequest request;
    request.set_page_size(options.limit);
    std::string filter;
    if (!options.state.empty()) filter = "state=" + options.state;
    if (!options.name.empty())
      filter += (filter.empty() ? "" : " AND ") + std::string("name=") + options.name;
    request.set_filter(filter);
    const auto response = client.Call(client.jobs(), &v1::JobService::Stub::ListJobs, request);
    if (!response.ok()) return Fail(response.status());
    const std::vector<v1::Job> jobs(response->jobs().begin(), response->jobs().end());
    Print(
        format, *response, [&] { return JobTable(jobs, format == Format::kWide); },
        [&] {
          std::string names;
          for (const v1::Job& job : jobs) names += job.job_id() + "\n";
          return names;
        });
    if (jobs.empty() && format == Format::kTable)
      std::fprintf(stderr, "no jobs yet; try: trainyard submit examples/jobs/shakespeare.yaml\n");
    if (!response->next_page_token().empty())
      std::fprintf(stderr, "there are more; ask for more with --limit\n");
    return static_cast<int>(kOk);
  });
}

int Get(const Place& place, const std::string& job, Format format) {
  return WithClient(place, [&](Client& client) {
    return PrintJob(FetchJob(client, job), format, /*describe=*/false);
  });
}

int Describe(const Place& place, const std::string& job, Format format) {
  return WithClient(place, [&](Client& client) {
    return PrintJob(FetchJob(client, job), format, /*describe=*/true);
  });
}

int Events(const Place& place, const std::string& job, Format format) {
  return WithClient(place, [&](Client& client) {
    v1::ListEventsResponse all;
    v1::ListEventsRequest request;
    if (!job.empty()) request.set_name(NameOfRef(job));
    request.set_page_size(500);
    do {
      auto page = client.Call(client.jobs(), &v1::JobService::Stub::ListEvents, request);
      if (!page.ok()) return Fail(page.status());
      all.mutable_events()->MergeFrom(page->events());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    Print(
        format, all,
        [&] {
          Table table({"SEQ", "AGE", "ACTOR", "ATTEMPT", "TYPE", "MESSAGE"});
          for (const v1::Event& event : all.events())
            table.Add({std::to_string(event.sequence()), Age(event.time()), event.actor(),
                       event.attempt() > 0 ? std::to_string(event.attempt()) : "-", event.type(),
                       event.message()});
          return table.ToString();
        },
        [&] {
          std::string names;
          for (const v1::Event& event : all.events())
            names += fmt::format("{}\n", event.sequence());
          return names;
        });
    return static_cast<int>(kOk);
  });
}

int Explain(const Place& place, const std::string& job, Format format) {
  return WithClient(place, [&](Client& client) {
    v1::ExplainJobRequest request;
    request.set_name(NameOfRef(job));
    const auto response = client.Call(client.jobs(), &v1::JobService::Stub::ExplainJob, request);
    if (!response.ok()) return Fail(response.status());
    Print(
        format, *response,
        [&] {
          std::string text = response->sentence() + "\n";
          for (const std::string& line : response->evidence()) text += "  " + line + "\n";
          return text;
        },
        [&] { return response->sentence() + "\n"; });
    return static_cast<int>(kOk);
  });
}

int Cancel(const Place& place, const std::string& job, bool now, Format format) {
  return WithClient(place, [&](Client& client) {
    v1::CancelJobRequest request;
    request.set_name(NameOfRef(job));
    request.set_now(now);
    return PrintJob(client.Call(client.jobs(), &v1::JobService::Stub::CancelJob, request), format,
                    false);
  });
}

int Retry(const Place& place, const std::string& job, const std::vector<std::string>& sets,
          Format format) {
  return WithClient(place, [&](Client& client) {
    v1::RetryJobRequest request;
    request.set_name(NameOfRef(job));
    for (const std::string& assignment : sets) request.add_set(assignment);
    return PrintJob(client.Call(client.jobs(), &v1::JobService::Stub::RetryJob, request), format,
                    false);
  });
}

int WorkerList(const Place& place, Format format) {
  return WithClient(place, [&](Client& client) {
    const auto response =
        client.Call(client.jobs(), &v1::JobService::Stub::ListWorkers, v1::ListWorkersRequest());
    if (!response.ok()) return Fail(response.status());
    Print(
        format, *response,
        [&] {
          Table table(
              {"WORKER", "HOST", "STATE", "SLOTS", "USED", "HTTP", "VERSION", "LAST REPORT"});
          for (const v1::Worker& worker : response->workers()) {
            double used = 0;
            for (const v1::Slot& slot : worker.slots()) used += slot.used_share();
            table.Add({worker.worker_id(), worker.host(), ColourState(worker.state()),
                       std::to_string(worker.slots_size()), fmt::format("{:g}", used),
                       worker.http_address(), worker.version(),
                       Age(worker.last_report_time()) + " ago"});
          }
          return table.ToString();
        },
        [&] {
          std::string names;
          for (const v1::Worker& worker : response->workers()) names += worker.worker_id() + "\n";
          return names;
        });
    return static_cast<int>(kOk);
  });
}

}  // namespace trainyard::cli
