#include "common/job_spec/resolve.h"
#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

TEST(ApplySet, ChangesFieldsGroupsListsAndMaps) {
  ParsedJob job = ExampleJob();
  EXPECT_OK(ApplySet(&job, "train.max_steps=10"));
  EXPECT_OK(ApplySet(&job, "tokenizer.train.vocab_size=512"));
  EXPECT_OK(ApplySet(&job, "data.train[0].path=a=b.txt"));
  EXPECT_OK(ApplySet(&job, "data.train[1].path=second.txt"));
  EXPECT_OK(ApplySet(&job, "model.config.hidden_size=96"));
  EXPECT_EQ(job.spec.train.max_steps, 10);
  EXPECT_EQ(job.spec.tokenizer.train->vocab_size, 512);
  EXPECT_EQ(job.spec.data.train[0].path, "a=b.txt");
  EXPECT_EQ(job.spec.data.train[1].path, "second.txt");
  EXPECT_EQ(job.spec.model.config.at("hidden_size"), "96");
  EXPECT_THAT(job.origins, Contains(Pair("train.max_steps", "--set")));
  EXPECT_THAT(job.origins, Contains(Pair("data.train[1].path", "--set")));
}

TEST(ApplySet, AcceptsPeersNamesWithANote) {
  ParsedJob job = ExampleJob();
  EXPECT_OK(ApplySet(&job, "train.lr=0.5"));
  EXPECT_EQ(job.spec.train.learning_rate, 0.5);
  EXPECT_THAT(job.origins, Contains(Pair("train.learning_rate", "--set")));
  EXPECT_THAT(job.notes, Contains("--set train.lr is read as train.learning_rate"));
}

struct Refusal {
  const char* assignment;
  const char* message;
};

class ApplySetRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(ApplySetRefuses, AndChangesNothing) {
  ParsedJob job = ExampleJob();
  const auto origins = job.origins;
  EXPECT_THAT(ApplySet(&job, GetParam().assignment),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
  EXPECT_EQ(job.origins, origins);
  EXPECT_EQ(job.spec.train.max_steps, 400);
  EXPECT_EQ(job.spec.data.train.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ApplySetRefuses,
    testing::Values(Refusal{"train.max_steps", "write it as field=value"},
                    Refusal{"=3", "write it as field=value"},
                    Refusal{"train.max_step=3", "did you mean train.max_steps?"},
                    Refusal{"train.max_steps=x", "wants an integer"},
                    Refusal{"train.max_steps=0", "at least 1"},
                    Refusal{"train.max_steps.a=0", "unknown field"},
                    Refusal{"train=3", "is a group"}, Refusal{"data.train.path=a", "is a list"},
                    Refusal{"data.train[2].path=a", "has 1 entries: there is no [2]"},
                    Refusal{"data.train[x].path=a", "an entry of a list is written"},
                    Refusal{"data.train[].path=a", "an entry of a list is written"},
                    Refusal{"data.train[=a", "an entry of a list is written"},
                    Refusal{"data.train[1].format=xml", "is not one of"},
                    Refusal{"train[0].max_steps=1", "is not a list"},
                    Refusal{"model.config=1", "is a map"}, Refusal{"version=2", "version"},
                    Refusal{"name=\xff", "UTF-8"}));

}  // namespace
}  // namespace trainyard
