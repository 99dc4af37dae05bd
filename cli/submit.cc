// submit: read the job file, upload its data, create the job, follow it.
#include <cstdio>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/upload.h"
#include "common/files.h"
#include "common/job_spec/json.h"
#include "common/job_spec/validate.h"
#include "common/job_spec/yaml.h"
#include "common/wire/job_spec.h"

namespace trainyard::cli {
namespace {

StatusOr<ParsedJob> ReadJobFile(const SubmitOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.file, 1 << 20));
  ASSIGN_OR_RETURN(ParsedJob job, ParseJobYaml(text, options.file));
  for (const std::string& assignment : options.set) RETURN_IF_ERROR(ApplySet(&job, assignment));
  RETURN_IF_ERROR(job.AtPosition(Validate(job.spec)));
  return job;
}

StatusOr<v1::Job> Create(Client& client, ParsedJob& parsed, const SubmitOptions& options) {
  v1::CreateJobRequest request;
  request.set_request_id(options.request_id.empty() ? RandomHex(16) : options.request_id);
  request.set_validate_only(options.dry_run);
  for (const std::string& from : {parsed.spec.model.from, parsed.spec.tokenizer.from})
    SayIfAlsoJob(client, from);
  if (options.dry_run) {
    RETURN_IF_ERROR(DigestDatasets(parsed));
  } else {
    RETURN_IF_ERROR(UploadDatasets(client, parsed, options.quiet_wait));
  }
  ASSIGN_OR_RETURN(*request.mutable_spec(), GivenToProto(parsed));
  return client.Call(client.jobs(), &v1::JobService::Stub::CreateJob, request);
}

// A masked model fills places: it goes on from no prompt.
void TellWhatIsNext(const JobSpec& spec, const char* id) {
  std::fprintf(stderr, "done. Try:\n");
  if (spec.objective == "masked") {
    std::fprintf(stderr,
                 "  trainyard checkpoint export %s@latest --to model/   (its README.md shows how "
                 "to fill masks)\n",
                 id);
    return;
  }
  std::fprintf(stderr,
               "  trainyard generate --model job:%s@latest --prompt \"...\"\n"
               "  trainyard checkpoint export %s@latest --to model/\n",
               id, id);
}

}  // namespace

int Submit(const Place& place, const SubmitOptions& options, Format format) {
  auto parsed = ReadJobFile(options);
  if (!parsed.ok()) return Fail(parsed.status());
  for (const std::string& note : parsed->notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  const auto job = Create(**client, *parsed, options);
  if (!job.ok()) return Fail(job.status());

  if (options.dry_run) {
    std::fprintf(stderr, "valid; nothing was stored. The resolved spec:\n");
    Print(
        format, *job, [&] { return ToYaml(job->spec()); },
        [&] { return job->display_name() + "\n"; });
    return kOk;
  }
  const auto id_line = [&] { return job->job_id() + "\n"; };
  const bool one_answer = IsData(format) && !options.no_wait;  // the job as it has ended
  if (!one_answer) Print(format, *job, id_line, id_line);
  const char* id = job->job_id().c_str();
  if (options.no_wait) {
    std::fprintf(stderr, "follow it with: trainyard watch %s\n", id);
    return kOk;
  }
  const bool evaluates = parsed->spec.kind == "evaluate";
  const int code = options.quiet_wait || one_answer
                       ? Wait(place, job->job_id(), 0, evaluates ? Format::kTable : format)
                       : Watch(place, job->job_id());
  if (code == kOk && evaluates) return Evaluate(place, id, format);
  if (code == kOk && !options.quiet_wait) TellWhatIsNext(parsed->spec, id);
  if (code == kJobFailed) std::fprintf(stderr, "why: trainyard explain %s\n", id);
  return code;
}

}  // namespace trainyard::cli
