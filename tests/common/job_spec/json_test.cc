#include "common/job_spec/json.h"

#include "common/job_spec/fields.h"
#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using nlohmann::ordered_json;
using testing::Contains;
using testing::HasSubstr;

// A spec in which no leaf has its default, made through the field table itself.
void Disturb(const Field& group, void* target) {
  for (const Field& field : group.children) {
    if (!field.is_leaf()) {
      field.resize(target, field.type == FieldType::kGroupList ? 2 : 1);
      for (int64_t i = 0; i < field.count(target); ++i) Disturb(field, field.element(target, i));
      continue;
    }
    const Leaf leaf = field.leaf(target);
    if (auto* const* integer = std::get_if<int64_t*>(&leaf)) {
      **integer = field.text.name == "version" ? 1 : **integer + 7;
    } else if (auto* const* number = std::get_if<double*>(&leaf)) {
      **number = **number / 3 + 1e-9;
    } else if (auto* const* flag = std::get_if<bool*>(&leaf)) {
      **flag = !**flag;
    } else if (auto* const* text = std::get_if<std::string*>(&leaf)) {
      **text = field.text.allowed.empty() ? "caf\xc3\xa9 \"x\"" : field.text.allowed.back();
      if (field.text.max < 64) **text = "short";
    } else {
      *std::get<std::map<std::string, std::string>*>(leaf) = {{"a", "1"}, {"b", "\"1\""}};
    }
  }
}

std::map<std::string, std::string> LeavesOf(const JobSpec& spec) {
  std::map<std::string, std::string> leaves;
  VisitLeaves(spec, [&](const std::string& path, const Field&, const std::string& text) {
    leaves[path] = text;
  });
  return leaves;
}

TEST(JobSpecJson, EveryFieldOfTheTableComesBackAsItWas) {
  JobSpec spec;
  Disturb(JobSpecFields(), &spec);
  ASSERT_OK_AND_ASSIGN(const JobSpec back, JobSpecFromJson(JobSpecToJson(spec)));
  EXPECT_EQ(LeavesOf(back), LeavesOf(spec));
  EXPECT_EQ(back.train.learning_rate, spec.train.learning_rate) << "to the last bit";
}

TEST(JobSpecJson, AnIncompleteSpecComesBackToo) {
  ASSERT_OK_AND_ASSIGN(const JobSpec back, JobSpecFromJson(JobSpecToJson(JobSpec{})));
  EXPECT_EQ(LeavesOf(back), LeavesOf(JobSpec{}));
}

TEST(JobSpecJson, HoldsDefaultsAndNoOptionalGroupThatIsNotThere) {
  const ordered_json json = JobSpecToJson(JobSpec{});
  EXPECT_EQ(json["train"]["learning_rate"], 3e-4);
  EXPECT_EQ(json["data"]["train"], ordered_json::array());
  EXPECT_FALSE(json["tokenizer"].contains("train"));
}

TEST(JobSpecJson, GivenFieldsAloneLeaveDefaultsToTheReceiver) {
  ParsedJob job = ExampleJob();
  job.spec.data.train[0].files = {
      {.name = "a.txt", .sha256 = std::string(64, 'a'), .size_bytes = 3}};
  const ordered_json json = GivenToJson(job);
  EXPECT_FALSE(json["train"].contains("seed"));
  EXPECT_FALSE(json.contains("limits"));
  EXPECT_EQ(json["data"]["train"][0]["files"][0]["size_bytes"], 3) << "filled in at submit";
  ASSERT_OK_AND_ASSIGN(const ParsedJob back, ParseJobJson(json));
  EXPECT_EQ(LeavesOf(back.spec), LeavesOf(job.spec));
  for (const auto& [path, origin] : job.origins) EXPECT_TRUE(back.origins.contains(path)) << path;
}

TEST(JobSpecJson, TakesIntegersAsTextAsProtosJsonWritesThem) {
  ASSERT_OK_AND_ASSIGN(const JobSpec spec,
                       JobSpecFromJson(ordered_json::parse(R"({"train": {"max_steps": "400"}})")));
  EXPECT_EQ(spec.train.max_steps, 400);
}

TEST(JobSpecJson, NamesAnUnknownKeyAndTheNearest) {
  const auto refused = JobSpecFromJson({{"train", {{"lerning_rate", 1}}}});
  EXPECT_THAT(refused, StatusIs(StatusCode::kInvalidArgument,
                                "train.lerning_rate: unknown field; did you mean learning_rate?"));
  EXPECT_EQ(FieldOf(refused.status()), "train.lerning_rate");
  EXPECT_FALSE(JobSpecFromJson({{"train", {{"lr", 1}}}}).ok()) << "peers' names are for people";
}

TEST(JobSpecJson, RefusesWrongTypesAndDeepNesting) {
  EXPECT_THAT(JobSpecFromJson(ordered_json::array()),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a job is a map")));
  EXPECT_THAT(JobSpecFromJson({{"train", 3}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("train: wants a map")));
  EXPECT_THAT(JobSpecFromJson({{"name", ordered_json::binary({1})}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no bytes")));
  ordered_json deep = 1;
  for (int i = 0; i < 100; ++i) deep = ordered_json::array({deep});
  EXPECT_THAT(JobSpecFromJson({{"name", deep}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("nested deeper")));
}

TEST(ModelConfigJson, TurnsTextsBackIntoScalars) {
  JobSpec spec;
  spec.model.config = {{"model_type", "llama"}, {"hidden_size", "288"}, {"rms_norm_eps", "1e-05"},
                       {"tie", "true"},         {"odd", "\"12\""},      {"open", "[1"},
                       {"null", "null"}};
  const ordered_json config = ModelConfigJson(spec);
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["hidden_size"], 288);
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(config["tie"], true);
  EXPECT_EQ(config["odd"], "12");
  EXPECT_EQ(config["open"], "[1");
  EXPECT_TRUE(config["null"].is_null());
}

}  // namespace
}  // namespace trainyard
