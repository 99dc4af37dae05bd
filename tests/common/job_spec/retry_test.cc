#include "common/job_spec/retry.h"

#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "tests/common/job_spec/example.h"

namespace trainyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ResolvedSpec Before() { return *Resolve(ExampleJob()); }

TEST(ChangeForRetry, ChangesHowAJobGoesOnAndSaysWhoDid) {
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec changed,
                       ChangeForRetry(Before(), {"train.max_steps=900", "train.lr=1e-4",
                                                 "resources.threads_per_rank=2"}));
  EXPECT_EQ(changed.spec.train.max_steps, 900);
  EXPECT_EQ(changed.spec.train.learning_rate, 1e-4);
  EXPECT_EQ(changed.origins.at("train.max_steps"), "retry --set");
  EXPECT_EQ(changed.origins.at("train.learning_rate"), "retry --set");
  EXPECT_EQ(changed.origins.at("train.global_batch_size"), "job file");
  EXPECT_EQ(changed.origins.at("train.adam_beta1"), "default");
  JobSpec back = changed.spec;
  back.train.max_steps = Before().spec.train.max_steps;
  back.train.learning_rate = Before().spec.train.learning_rate;
  back.resources.threads_per_rank = Before().spec.resources.threads_per_rank;
  EXPECT_EQ(JobSpecToJson(back), JobSpecToJson(Before().spec));
}

TEST(ChangeForRetry, RefusesByNameWhatTheJobIs) {
  for (const std::string assignment :
       {"train.max_length=128", "train.global_batch_size=16", "train.seed=1", "train.optim=muon",
        "name=other", "model.config.hidden_size=64", "model.preset=llama-15m",
        "tokenizer.train.vocab_size=300", "data.train[0].path=other.txt", "objective=masked",
        "masking.whole_word=true"}) {
    const std::string path = assignment.substr(0, assignment.find('='));
    const Status refused = ChangeForRetry(Before(), {assignment}).status();
    EXPECT_THAT(refused, StatusIs(StatusCode::kInvalidArgument,
                                  AllOf(HasSubstr(path), HasSubstr("cannot change"))));
    EXPECT_EQ(FieldOf(refused), path);
  }
}

TEST(ChangeForRetry, HoldsTheChangedSpecToTheRulesOfAnyOther) {
  EXPECT_THAT(ChangeForRetry(Before(), {"resources.ranks=3"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("cannot be shared by 3 ranks")));
  EXPECT_THAT(ChangeForRetry(Before(), {"train.max_stepz=3"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("did you mean train.max_steps")));
  EXPECT_THAT(ChangeForRetry(Before(), {"lora_r=8"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("LoRA")));
  EXPECT_FALSE(
      ChangeForRetry(Before(), std::vector<std::string>(kRetrySetsMax + 1, "train.max_steps=9"))
          .ok());
}

TEST(ChangeForRetry, ChoosesAMicroBatchAnewUnlessOneWasGiven) {
  // 32 rows on 32 ranks are one each.
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec anew, ChangeForRetry(Before(), {"resources.ranks=32"}));
  EXPECT_EQ(anew.spec.train.micro_batch_size, 1);
  EXPECT_EQ(anew.origins.at("train.micro_batch_size"), "planner");
  ASSERT_OK_AND_ASSIGN(const ResolvedSpec given,
                       ChangeForRetry(Before(), {"train.micro_batch_size=2"}));
  EXPECT_EQ(given.spec.train.micro_batch_size, 2);
  EXPECT_EQ(given.origins.at("train.micro_batch_size"), "retry --set");
}

}  // namespace
}  // namespace trainyard
