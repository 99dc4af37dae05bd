// The coordinator's plain values on the wire and back. The only place where both words meet.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/coordinator.h"
#include "coordinator/service/usage.h"
#include "coordinator/state/cluster.h"
#include "coordinator/state/job.h"
#include "coordinator/store/store.h"
#include "trainyard/v1/blob_service.pb.h"
#include "trainyard/v1/job.pb.h"
#include "trainyard/v1/worker_service.pb.h"

namespace trainyard::coordinator {

// With spec, origins and attempts. Internal where the proto has no place for a field of the spec.
StatusOr<v1::Job> JobToProto(const JobView& view,
                             const std::map<std::string, double>& latest_metrics);
// As lists show it: without them.
v1::Job JobSummaryToProto(const JobView& view, const std::map<std::string, double>& latest_metrics);
v1::Checkpoint CheckpointToProto(const Job& job, const Checkpoint& checkpoint);
v1::Event EventToProto(const Event& event);
// `in_use`: share of each slot in use.
v1::Worker WorkerToProto(const Worker& worker,
                         const std::vector<std::pair<SlotId, double>>& in_use);

// Of jobs the 1,000 that have most bytes.
v1::GetUsageResponse UsageToProto(const Usage& usage);

// InvalidArgument naming the field: a report comes from outside.
StatusOr<WorkerReport> ReportFromProto(const v1::WorkerReport& proto);
v1::DesiredState DesiredToProto(const DesiredState& desired);

}  // namespace trainyard::coordinator
