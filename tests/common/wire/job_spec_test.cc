#include "common/wire/job_spec.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <set>

#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::HasSubstr;

constexpr char kJob[] = R"(version: 1
name: shakespeare
kind: pretrain
model: {config: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2}}
tokenizer: {train: {vocab_size: 4096}}
data:
  train:
    - {format: text, weight: 0.25, files: [{name: Lëar.txt, sha256: "00ff", size_bytes: 3000000000}]}
    - {format: jsonl, text_field: body, files: [{name: b, sha256: "01", size_bytes: 1}]}
train: {max_steps: 240, global_batch_size: 16, learning_rate: 3.0e-3, warmup_steps: 0, seed: 9007199254740993}
resources: {ranks: 2, device: cpu}
)";

ParsedJob Parsed() {
  auto job = ParseJobYaml(kJob, "job.yaml");
  EXPECT_OK(job);
  return *std::move(job);
}

// A value that the field's rule allows and that is not its default, where there is one.
nlohmann::ordered_json Unusual(const Field& field) {
  const FieldText& text = field.text;
  const std::string usual = DefaultText(field);
  switch (field.type) {
    case FieldType::kInteger:
      return static_cast<int64_t>(std::clamp(std::atof(usual.c_str()) + 1, text.min, text.max));
    case FieldType::kNumber: {
      const double value = std::atof(usual.c_str());
      return value > 0 ? value / 2 : 0.5;
    }
    case FieldType::kFlag:
      return usual != "true";
    case FieldType::kText:
      for (const std::string& allowed : text.allowed)
        if (allowed != usual) return allowed;
      return "unusual";
    case FieldType::kTextMap:
      return {{"key", "unusual"}};
    case FieldType::kGroup:
    case FieldType::kOptionalGroup:
    case FieldType::kGroupList:
      break;
  }
  nlohmann::ordered_json group = nlohmann::ordered_json::object();
  for (const Field& child : field.children) group[child.text.name] = Unusual(child);
  if (field.type != FieldType::kGroupList) return group;
  return nlohmann::ordered_json::array({std::move(group)});
}

TEST(JobSpecProto, HoldsEveryFieldOfTheTable) {
  ASSERT_OK_AND_ASSIGN(const ParsedJob job,
                       ParseJobYaml(Unusual(JobSpecFields()).dump(2), "job.yaml"));
  std::set<const Field*> given;
  VisitLeaves(job.spec, [&](const std::string& path, const Field& field, const std::string& text) {
    given.insert(&field);
    EXPECT_TRUE(text != DefaultText(field) || field.text.min == field.text.max) << path;
  });
  EXPECT_EQ(given.size(), AllLeaves().size());

  const nlohmann::ordered_json whole = JobSpecToJson(job.spec);
  for (const StatusOr<v1::JobSpec>& proto : {ToProto(job.spec), GivenToProto(job)}) {
    ASSERT_OK(proto);
    ASSERT_OK_AND_ASSIGN(const ParsedJob back, FromProto(*proto));
    EXPECT_EQ(JobSpecToJson(back.spec), whole);
    EXPECT_EQ(back.origins.size(), job.origins.size());
    ASSERT_OK_AND_ASSIGN(const ParsedJob again,
                         ParseJobYaml(GivenToJson(back).dump(2), "job.yaml"));
    EXPECT_EQ(JobSpecToJson(again.spec), whole);
  }
}

TEST(JobSpecProto, HoldsEveryFieldOfAResolvedSpec) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec resolved, Resolve(Parsed()));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec proto, ToProto(resolved.spec));
  EXPECT_EQ(proto.train().seed(), 9007199254740993);
  EXPECT_EQ(proto.data().train(0).files(0).size_bytes(), 3'000'000'000);
  EXPECT_TRUE(proto.train().has_warmup_steps());
  ASSERT_OK_AND_ASSIGN(const ParsedJob back, FromProto(proto));
  EXPECT_EQ(JobSpecToJson(back.spec), JobSpecToJson(resolved.spec));
}

// Protobuf's own JSON is the reference: slower, and the same.
TEST(JobSpecProto, SaysWhatProtobufsJsonSays) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec proto, GivenToProto(Parsed()));
  v1::JobSpec by_json;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(GivenToJson(Parsed()).dump(), &by_json).ok());
  EXPECT_EQ(proto.DebugString(), by_json.DebugString());
  EXPECT_FALSE(proto.train().has_adam_beta1());

  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(proto, &text, options).ok());
  ASSERT_OK_AND_ASSIGN(const ParsedJob by_text, ParseJobJson(nlohmann::ordered_json::parse(text)));
  ASSERT_OK_AND_ASSIGN(const ParsedJob direct, FromProto(proto));
  EXPECT_EQ(JobSpecToJson(direct.spec), JobSpecToJson(by_text.spec));
  EXPECT_EQ(direct.origins, by_text.origins);
}

TEST(JobSpecProto, CarriesFlags) {
  ParsedJob job = Parsed();
  ASSERT_OK(ApplySet(&job, "masking.whole_word=true"));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec proto, GivenToProto(job));
  EXPECT_TRUE(proto.masking().whole_word());
  EXPECT_FALSE(proto.masking().has_probability());
  ASSERT_OK_AND_ASSIGN(const ParsedJob back, FromProto(proto));
  EXPECT_TRUE(back.spec.masking.whole_word);
}

TEST(JobSpecProto, RefusesWhatIsNoTextAndNoNumber) {
  v1::JobSpec proto;
  proto.set_name("a\xff");
  EXPECT_THAT(FromProto(proto), StatusIs(StatusCode::kInvalidArgument, HasSubstr("UTF-8")));
  proto.set_name("a");
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    proto.mutable_train()->set_learning_rate(value);
    EXPECT_THAT(FromProto(proto),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("train.learning_rate")));
  }
}

}  // namespace
}  // namespace trainyard
