#include "common/wire/job_spec.h"

#include <google/protobuf/util/json_util.h>

#include "common/job_spec/json.h"

namespace trainyard {
namespace {

StatusOr<v1::JobSpec> FromJson(const nlohmann::ordered_json& json) {
  v1::JobSpec proto;
  const auto status = google::protobuf::util::JsonStringToMessage(json.dump(), &proto);
  if (!status.ok())
    return Internal("the job's JSON form does not fit JobSpec in proto/trainyard/v1/job.proto: {}",
                    status.ToString());
  return proto;
}

}  // namespace

StatusOr<v1::JobSpec> ToProto(const JobSpec& spec) { return FromJson(JobSpecToJson(spec)); }

StatusOr<v1::JobSpec> GivenToProto(const ParsedJob& job) { return FromJson(GivenToJson(job)); }

StatusOr<ParsedJob> FromProto(const v1::JobSpec& proto) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(proto, &text, options);
  if (!status.ok())
    return InvalidArgument("the job spec holds text that is not UTF-8: {}", status.ToString());
  return ParseJobJson(nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false));
}

}  // namespace trainyard
