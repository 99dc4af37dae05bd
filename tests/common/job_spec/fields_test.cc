#include "common/job_spec/fields.h"

#include <gmock/gmock.h>

#include <set>

#include "common/job_spec/job_id.h"
#include "common/job_spec/json.h"
#include "tests/support/status_matchers.h"

namespace trainyard {
namespace {

using testing::MatchesRegex;

void CollectNames(const Field& group, std::vector<std::string>* names) {
  for (const Field& field : group.children) {
    if (field.type == FieldType::kGroupList) continue;  // data.train and .validation are alike
    for (const FieldAlias& alias : field.text.aliases) names->push_back(alias.name);
    CollectNames(field, names);
  }
}

TEST(FieldTable, NoPeersNameMeansTwoFields) {
  std::vector<std::string> names;
  CollectNames(JobSpecFields(), &names);
  EXPECT_GT(names.size(), 30u);
  const std::set<std::string> distinct(names.begin(), names.end());
  EXPECT_EQ(distinct.size(), names.size());
  for (const auto& [key, hint] : PeerKeysWithoutField())
    EXPECT_FALSE(distinct.contains(key)) << key;
}

TEST(FieldTable, EveryLeafIsDocumentedAndItsDefaultKeepsItsRule) {
  const auto with_tokenizer = nlohmann::ordered_json::parse(R"({"tokenizer": {"train": {}}})");
  ASSERT_OK_AND_ASSIGN(const JobSpec spec, JobSpecFromJson(with_tokenizer));
  for (const Field* field : AllLeaves()) EXPECT_FALSE(field->text.doc.empty()) << field->path;
  VisitLeaves(spec, [&](const std::string& path, const Field& field, const std::string& text) {
    if (field.type != FieldType::kText || field.text.allowed.empty() || text.empty()) return;
    EXPECT_THAT(field.text.allowed, testing::Contains(text)) << path;
  });
}

TEST(FieldTable, DefaultsAreTheStructs) {
  const Field* train = JobSpecFields().Child("train");
  EXPECT_EQ(DefaultText(*train->Child("learning_rate")), "0.0003");
  EXPECT_EQ(DefaultText(*train->Child("lr_scheduler_type")), "cosine");
  const Field* tokenizer = JobSpecFields().Child("tokenizer");
  EXPECT_EQ(DefaultText(*tokenizer->Child("train")->Child("vocab_size")), "4096");
  const Field* data = JobSpecFields().Child("data");
  EXPECT_EQ(DefaultText(*data->Child("validation")->Child("weight")), "1");
  EXPECT_EQ(data->Child("train")->Child("weight")->path, "data.train[].weight");
}

TEST(NearestName, ForgivesSwapsAndMissesButNotOtherWords) {
  const std::vector<std::string> names = {"learning_rate", "max_steps", "seed"};
  EXPECT_EQ(NearestName("laerning_rate", names), "learning_rate");
  EXPECT_EQ(NearestName("max_step", names), "max_steps");
  EXPECT_EQ(NearestName("sed", names), "seed");
  EXPECT_EQ(NearestName("colour", names), "");
  EXPECT_EQ(NearestName("", names), "");
}

TEST(MakeJobId, AddsFiveLettersThatNobodyMisreads) {
  EXPECT_EQ(MakeJobId("shakespeare", 0).value, "shakespeare-00000");
  EXPECT_EQ(MakeJobId("a", 31).value, "a-z0000");
  EXPECT_NE(MakeJobId("a", 1), MakeJobId("a", 1 << 24));
  EXPECT_THAT(RandomJobId("shakespeare").value, MatchesRegex("shakespeare-[0-9a-hjkmnp-tv-z]{5}"));
  EXPECT_NE(RandomJobId("a"), RandomJobId("a"));
}

}  // namespace
}  // namespace trainyard
