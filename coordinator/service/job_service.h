// Jobs, for clients. Each handler translates, asks once, translates back; streams are in
// job_streams.h and log_stream.h.
#pragma once

#include <string>

#include "coordinator/service/answer_memory.h"
#include "coordinator/service/runtime.h"
#include "trainyard/v1/job_service.grpc.pb.h"

namespace trainyard::coordinator {

class JobServiceImpl final : public v1::JobService::CallbackService {
 public:
  explicit JobServiceImpl(ServiceRuntime& runtime) : runtime_(runtime) {}

  using Call = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  Unary* CreateJob(Call* call, const v1::CreateJobRequest* request, v1::Job* response) override;
  Unary* GetJob(Call* call, const v1::GetJobRequest* request, v1::Job* response) override;
  Unary* ListJobs(Call* call, const v1::ListJobsRequest* request,
                  v1::ListJobsResponse* response) override;
  Unary* CancelJob(Call* call, const v1::CancelJobRequest* request, v1::Job* response) override;
  Unary* RetryJob(Call* call, const v1::RetryJobRequest* request, v1::Job* response) override;
  Unary* DeleteJob(Call* call, const v1::DeleteJobRequest* request, v1::Job* response) override;
  Unary* ListEvents(Call* call, const v1::ListEventsRequest* request,
                    v1::ListEventsResponse* response) override;
  Unary* ExplainJob(Call* call, const v1::ExplainJobRequest* request,
                    v1::ExplainJobResponse* response) override;
  Unary* ListWorkers(Call* call, const v1::ListWorkersRequest* request,
                     v1::ListWorkersResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      Call* call, const v1::WatchJobRequest* request) override;
  grpc::ServerWriteReactor<v1::TailLogsResponse>* TailLogs(
      Call* call, const v1::TailLogsRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchMetricsResponse>* WatchMetrics(
      Call* call, const v1::WatchMetricsRequest* request) override;

 private:
  StatusOr<int64_t> Create(const Principal& who, const v1::CreateJobRequest& request,
                           v1::Job* response);
  StatusOr<int64_t> List(const v1::ListJobsRequest& request, v1::ListJobsResponse* response);
  StatusOr<int64_t> Events(const Principal& who, const v1::ListEventsRequest& request,
                           v1::ListEventsResponse* response);
  StatusOr<int64_t> Retry(const Principal& who, const v1::RetryJobRequest& request,
                          v1::Job* response);
  StatusOr<int64_t> Delete(const Principal& who, const v1::DeleteJobRequest& request,
                           v1::Job* response);
  Status CheckBlobsExist(const JobSpec& spec);
  // The job as answers to Cancel and Retry show it.
  StatusOr<int64_t> Show(const StatusOr<Answer<std::shared_ptr<const Job>>>& answer,
                         const std::string& memory_key, v1::Job* response);

  ServiceRuntime& runtime_;
  AnswerMemory memory_;
};

// The reference in a resource name, once its project is known to exist. NotFound otherwise.
StatusOr<std::string> JobRef(std::string_view name);
// "state=RUNNING AND name=shakespeare" into a filter; InvalidArgument with what is understood.
Status ParseJobFilter(std::string_view text, JobFilter* filter);

}  // namespace trainyard::coordinator
