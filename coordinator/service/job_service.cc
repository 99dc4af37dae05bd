#include "coordinator/service/job_service.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/job_spec/job_id.h"
#include "common/job_spec/local_model.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/validate.h"
#include "common/wire/job_spec.h"
#include "common/wire/values.h"
#include "coordinator/fits.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/model_from.h"
#include "coordinator/service/recorded_checkpoint.h"
#include "coordinator/service/unary.h"

namespace trainyard::coordinator {
namespace {

constexpr char kService[] = "/trainyard.v1.JobService/";
constexpr int64_t kDefaultPage = 50;
constexpr int64_t kMaxPage = 500;
constexpr size_t kMaxNotes = 5;

std::string Method(const char* name) { return std::string(kService) + name; }

StatusOr<int64_t> PageSize(int32_t asked) {
  if (asked < 0)
    return WithField(InvalidArgument("page_size is {}: give 0 to {}", asked, kMaxPage),
                     "page_size");
  return asked == 0 ? kDefaultPage : std::min<int64_t>(asked, kMaxPage);
}

Status CheckParent(const std::string& parent) {
  if (parent.empty() || parent == "projects/default") return OkStatus();
  return WithField(WithReason(NotFound("there is no {:?}: only projects/default exists so far",
                                       parent.substr(0, 200)),
                              "PROJECT_NOT_FOUND"),
                   "parent");
}

// The suffix alone, as Coordinator::Create appends it.
std::string IdSuffix() {
  const std::string id = RandomJobId("j").value;
  return id.substr(id.rfind('-') + 1);
}

}  // namespace

StatusOr<std::string> JobRef(std::string_view name) {
  ASSIGN_OR_RETURN(const ResourceName parsed, ParseResourceName(name));
  RETURN_IF_ERROR(CheckParent("projects/" + parsed.project));
  return parsed.job;
}

Status ParseJobFilter(std::string_view text, JobFilter* filter) {
  constexpr std::string_view kAnd = " AND ";
  const auto wrong = [&](std::string_view term) {
    return WithField(
        WithReason(InvalidArgument("cannot filter by {:?}: terms are state=RUNNING and "
                                   "name=shakespeare, joined by AND",
                                   term.substr(0, 200)),
                   "BAD_FILTER"),
        "filter");
  };
  while (!text.empty()) {
    const size_t end = text.find(kAnd);
    const std::string_view term = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + kAnd.size());
    const size_t equals = term.find('=');
    if (equals == std::string_view::npos) return wrong(term);
    const std::string_view key = term.substr(0, equals), value = term.substr(equals + 1);
    if (key == "state") {
      filter->state = ParseJobState(value);
      if (!filter->state.has_value()) return wrong(term);
    } else if (key == "name" && !value.empty()) {
      filter->display_name = value;
    } else {
      return wrong(term);
    }
  }
  return OkStatus();
}

Status JobServiceImpl::CheckBlobsExist(const JobSpec& spec) {
  const auto check = [&](const std::vector<BlobRef>& files, const char* field) -> Status {
    for (const BlobRef& file : files) {
      ASSIGN_OR_RETURN(const bool exists,
                       runtime_.context().blobs.Exists("datasets/" + file.sha256));
      if (exists) continue;
      return WithField(
          WithReason(FailedPrecondition(
                         "the data file {} (SHA-256 {}) is not stored here: upload it first "
                         "(BlobService.Upload; `trainyard submit` does that by itself)",
                         file.name, file.sha256),
                     "MISSING_BLOBS"),
          field);
    }
    return OkStatus();
  };
  for (const DataSource& source : spec.data.train)
    RETURN_IF_ERROR(check(source.files, "data.train"));
  for (const DataSource& source : spec.data.validation)
    RETURN_IF_ERROR(check(source.files, "data.validation"));
  RETURN_IF_ERROR(check(spec.model.files, "model.from"));
  return check(spec.tokenizer.files, "tokenizer.from");
}

StatusOr<int64_t> JobServiceImpl::Create(const Principal& who, const v1::CreateJobRequest& request,
                                         v1::Job* response) {
  RETURN_IF_ERROR(CheckParent(request.parent()));
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (!request.has_spec())
    return WithField(InvalidArgument("spec is missing: it says what to train"), "spec");
  ASSIGN_OR_RETURN(const ParsedJob parsed, FromProto(request.spec()));
  ASSIGN_OR_RETURN(ResolvedSpec resolved, Resolve(parsed));
  RETURN_IF_ERROR(
      ResolveModelFrom(runtime_.context(), /*store=*/!request.validate_only(), resolved.spec));
  if (request.validate_only()) {
    RETURN_IF_ERROR(CheckFits(resolved.spec, runtime_.context().coordinator.Workers()));
    Job job;
    job.spec = std::make_shared<const JobSpec>(std::move(resolved.spec));
    job.origins = std::move(resolved.origins);
    job.creator = who.actor();
    job.create_time = job.update_time = runtime_.context().clock.Now();
    ASSIGN_OR_RETURN(*response, JobToProto({std::make_shared<const Job>(std::move(job)), {}}, {}));
    response->clear_name();
    return 0;
  }
  RETURN_IF_ERROR(ValidateUploaded(resolved.spec));
  RETURN_IF_ERROR(CheckBlobsExist(resolved.spec));
  ASSIGN_OR_RETURN(const Answer<std::shared_ptr<const Job>> created,
                   runtime_.context().coordinator.Create(who.actor(), std::move(resolved.spec),
                                                         std::move(resolved.origins),
                                                         request.request_id(), IdSuffix()));
  ASSIGN_OR_RETURN(*response, JobToProto({created.value, {}}, {}));
  return created.durable_after;
}

JobServiceImpl::Unary* JobServiceImpl::CreateJob(Call* call, const v1::CreateJobRequest* request,
                                                 v1::Job* response) {
  // The checkpoint of another job is read whole.
  const bool reads = NamesCheckpoint(request->spec().model().from()) ||
                     NamesCheckpoint(request->spec().tokenizer().from());
  return AnswerUnary(runtime_, call, Method("CreateJob"),
                     reads ? Blocks::kForLong : Blocks::kShortly,
                     [=, this](const Principal& who) { return Create(who, *request, response); });
}

JobServiceImpl::Unary* JobServiceImpl::GetJob(Call* call, const v1::GetJobRequest* request,
                                              v1::Job* response) {
  return AnswerUnary(runtime_, call, Method("GetJob"), Blocks::kNo,
                     [=, this](const Principal&) -> StatusOr<int64_t> {
                       Coordinator& coordinator = runtime_.context().coordinator;
                       ASSIGN_OR_RETURN(const std::string ref, JobRef(request->name()));
                       ASSIGN_OR_RETURN(const Answer<JobView> view, coordinator.Get(ref));
                       ASSIGN_OR_RETURN(
                           *response,
                           JobToProto(view.value, coordinator.LatestMetrics(view.value.job->id)));
                       return view.durable_after;
                     });
}

StatusOr<int64_t> JobServiceImpl::List(const v1::ListJobsRequest& request,
                                       v1::ListJobsResponse* response) {
  RETURN_IF_ERROR(CheckParent(request.parent()));
  JobFilter filter;
  ASSIGN_OR_RETURN(filter.limit, PageSize(request.page_size()));
  RETURN_IF_ERROR(ParseJobFilter(request.filter(), &filter));
  filter.page_token = request.page_token();
  if (request.order_by() == "create_time") {
    filter.newest_first = false;
  } else if (!request.order_by().empty() && request.order_by() != "create_time desc") {
    return WithField(InvalidArgument("cannot order by {:?}: give \"create_time\" or \"create_time "
                                     "desc\"",
                                     request.order_by().substr(0, 200)),
                     "order_by");
  }
  Coordinator& coordinator = runtime_.context().coordinator;
  ASSIGN_OR_RETURN(const Answer<JobPage> page, coordinator.List(filter));
  for (const auto& job : page.value.jobs)
    *response->add_jobs() = JobSummaryToProto(job, coordinator.LatestMetrics(job.job->id));
  response->set_next_page_token(page.value.next_page_token);
  return page.durable_after;
}

JobServiceImpl::Unary* JobServiceImpl::ListJobs(Call* call, const v1::ListJobsRequest* request,
                                                v1::ListJobsResponse* response) {
  return AnswerUnary(runtime_, call, Method("ListJobs"), Blocks::kNo,
                     [=, this](const Principal&) { return List(*request, response); });
}

StatusOr<int64_t> JobServiceImpl::Show(const StatusOr<Answer<std::shared_ptr<const Job>>>& answer,
                                       const std::string& memory_key, v1::Job* response) {
  RETURN_IF_ERROR(answer.status());
  const std::shared_ptr<const Job>& job = answer->value;
  Coordinator& coordinator = runtime_.context().coordinator;
  JobView view{.job = job, .ranks = {}};
  if (const auto now = coordinator.Get(job->id.value); now.ok()) view.step = now->value.step;
  ASSIGN_OR_RETURN(*response, JobToProto(view, coordinator.LatestMetrics(job->id)));
  memory_.Remember(memory_key, *response);
  return answer->durable_after;
}

JobServiceImpl::Unary* JobServiceImpl::CancelJob(Call* call, const v1::CancelJobRequest* request,
                                                 v1::Job* response) {
  return AnswerUnary(runtime_, call, Method("CancelJob"), Blocks::kNo,
                     [=, this](const Principal& who) -> StatusOr<int64_t> {
                       RETURN_IF_ERROR(CheckRequestId(request->request_id()));
                       ASSIGN_OR_RETURN(const std::string ref, JobRef(request->name()));
                       const std::string key = MemoryKey("cancel", who, request->request_id());
                       if (memory_.Find(key, response)) return 0;
                       return Show(runtime_.context().coordinator.Cancel(
                                       who.actor(), ref, request->now(), request->etag()),
                                   key, response);
                     });
}

StatusOr<int64_t> JobServiceImpl::Retry(const Principal& who, const v1::RetryJobRequest& request,
                                        v1::Job* response) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  ASSIGN_OR_RETURN(const std::string ref, JobRef(request.name()));
  const std::string key = MemoryKey("retry", who, request.request_id());
  if (memory_.Find(key, response)) return 0;
  Coordinator& coordinator = runtime_.context().coordinator;
  ASSIGN_OR_RETURN(const Answer<JobView> view, coordinator.Get(ref));
  const Job& job = *view.value.job;
  ASSIGN_OR_RETURN(const std::vector<std::string> removed,
                   RemovedByHand(runtime_.context().blobs, job));
  return Show(coordinator.Retry(who.actor(), job.id.value, request.etag(),
                                {request.set().begin(), request.set().end()}, removed),
              key, response);
}

JobServiceImpl::Unary* JobServiceImpl::RetryJob(Call* call, const v1::RetryJobRequest* request,
                                                v1::Job* response) {
  return AnswerUnary(runtime_, call, Method("RetryJob"), Blocks::kShortly,
                     [=, this](const Principal& who) { return Retry(who, *request, response); });
}

StatusOr<int64_t> JobServiceImpl::Delete(const Principal& who, const v1::DeleteJobRequest& request,
                                         v1::Job* response) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  ASSIGN_OR_RETURN(const std::string ref, JobRef(request.name()));
  const std::string key = MemoryKey("delete", who, request.request_id());
  if (memory_.Find(key, response)) return 0;
  Coordinator& coordinator = runtime_.context().coordinator;
  ASSIGN_OR_RETURN(const Answer<JobView> view, coordinator.Get(ref));
  const std::string& id = view.value.job->id.value;
  const auto metrics = coordinator.LatestMetrics(view.value.job->id);
  ASSIGN_OR_RETURN(*response, JobToProto(view.value, metrics));
  ASSIGN_OR_RETURN(const int64_t durable_after,
                   coordinator.Delete(who.actor(), id, request.etag()));
  memory_.Remember(key, *response);
  return durable_after;
}

JobServiceImpl::Unary* JobServiceImpl::DeleteJob(Call* call, const v1::DeleteJobRequest* request,
                                                 v1::Job* response) {
  return AnswerUnary(runtime_, call, Method("DeleteJob"), Blocks::kNo,
                     [=, this](const Principal& who) { return Delete(who, *request, response); });
}

StatusOr<int64_t> JobServiceImpl::Events(const Principal& who, const v1::ListEventsRequest& request,
                                         v1::ListEventsResponse* response) {
  JobId job;
  if (request.name().empty()) {
    RETURN_IF_ERROR(
        CheckAccess(who, {Access::Kind::kClient, Role::kOperator}, "ListEvents over all jobs"));
  } else {
    ASSIGN_OR_RETURN(const std::string ref, JobRef(request.name()));
    ASSIGN_OR_RETURN(const Answer<JobView> view, runtime_.context().coordinator.Get(ref));
    job = view.value.job->id;
  }
  int64_t after = request.after_sequence();
  if (const std::string& token = request.page_token(); !token.empty()) {
    const char* end = token.data() + token.size();
    if (std::from_chars(token.data(), end, after).ptr != end)
      return WithField(InvalidArgument("this page_token is none of ListEvents"), "page_token");
  }
  ASSIGN_OR_RETURN(const int64_t limit, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::vector<Event> events,
                   runtime_.context().store.Events(job, after, limit));
  for (const Event& event : events) *response->add_events() = EventToProto(event);
  if (static_cast<int64_t>(events.size()) == limit)
    response->set_next_page_token(std::to_string(events.back().sequence));
  return 0;  // the store shows committed events only
}

JobServiceImpl::Unary* JobServiceImpl::ListEvents(Call* call, const v1::ListEventsRequest* request,
                                                  v1::ListEventsResponse* response) {
  return AnswerUnary(runtime_, call, Method("ListEvents"), Blocks::kShortly,
                     [=, this](const Principal& who) { return Events(who, *request, response); });
}

JobServiceImpl::Unary* JobServiceImpl::ExplainJob(Call* call, const v1::ExplainJobRequest* request,
                                                  v1::ExplainJobResponse* response) {
  return AnswerUnary(
      runtime_, call, Method("ExplainJob"), Blocks::kShortly,
      [=, this](const Principal&) -> StatusOr<int64_t> {
        ASSIGN_OR_RETURN(const std::string ref, JobRef(request->name()));
        Coordinator& coordinator = runtime_.context().coordinator;
        ASSIGN_OR_RETURN(const Answer<JobView> view, coordinator.Get(ref));
        ASSIGN_OR_RETURN(const Explanation why, coordinator.Explain(view.value.job->id.value));
        response->set_sentence(why.sentence);
        for (const std::string& line : why.evidence) response->add_evidence(line);
        ASSIGN_OR_RETURN(const std::vector<TrainerNote> notes,
                         runtime_.context().history.Notes(view.value.job->id, kMaxNotes));
        for (const TrainerNote& note : notes)
          response->add_evidence(fmt::format("rank {} of attempt {} said: {} ({})", note.rank,
                                             note.attempt, note.message, note.type));
        return view.durable_after;
      });
}

JobServiceImpl::Unary* JobServiceImpl::ListWorkers(Call* call, const v1::ListWorkersRequest*,
                                                   v1::ListWorkersResponse* response) {
  return AnswerUnary(runtime_, call, Method("ListWorkers"), Blocks::kNo,
                     [=, this](const Principal&) -> StatusOr<int64_t> {
                       Coordinator& coordinator = runtime_.context().coordinator;
                       const auto in_use = coordinator.SlotsInUse();
                       for (const Worker& worker : coordinator.Workers())
                         *response->add_workers() = WorkerToProto(worker, in_use);
                       return 0;
                     });
}

}  // namespace trainyard::coordinator
