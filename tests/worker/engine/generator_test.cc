#include "worker/engine/generator.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

std::unique_ptr<Engine> MakeEngine(ModelConfig config, const EngineOptions& options = {}) {
  config.max_positions = 512;
  auto engine = Engine::Create(config, options);
  EXPECT_OK(engine);
  return *std::move(engine);
}

struct Answer {
  Item ids;
  std::vector<float> logprobs;
};

Answer Ask(Engine& engine, const Item& prompt, PrefixCache* prefix, int64_t max_new_tokens = 8) {
  Answer answer;
  EXPECT_OK(engine.Sample(
      {&prompt, 1}, {.max_new_tokens = max_new_tokens, .temperature = 0},
      [&](const SampledToken& token) {
        answer.ids.push_back(token.id);
        answer.logprobs.push_back(token.logprob);
        return true;
      },
      prefix));
  return answer;
}

void ExpectSame(const Answer& a, const Answer& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_THAT(a.logprobs, testing::Pointwise(testing::FloatNear(1e-5F), b.logprobs));
}

Item Joined(Item first, const Item& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void LearnSomething(Engine& engine) {
  const Batch batch = Pack({NoiseItem(31, 37, 1)});
  const auto objective = CrossEntropy::Over(batch.targets());
  EXPECT_OK(engine.ForwardBackward(batch, *objective));
  EXPECT_OK(engine.Update({.learning_rate = 0.1}, nullptr));
}

class GeneratorOf : public testing::TestWithParam<const char*> {};

TEST_P(GeneratorOf, GoesOnFromWhatItHasRead) {
  auto engine = MakeEngine(TinyOf(GetParam()));
  PrefixCache prefix;
  Item conversation = NoiseItem(20, 37, 1);
  int64_t read = 0;
  // The third turn is longer than what is read at once.
  for (const int64_t turn : {0, 7, 300}) {
    conversation = Joined(conversation, NoiseItem(turn, 37, 2));
    const Answer answer = Ask(*engine, conversation, &prefix);
    EXPECT_EQ(prefix.reused, read);
    ExpectSame(answer, Ask(*engine, conversation, nullptr));
    // The last token of an answer is told, but not read.
    read = std::ssize(conversation) + std::ssize(answer.ids) - 1;
    conversation = Joined(conversation, answer.ids);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GeneratorOf, testing::Values("llama", "gpt2", "gemma3_text"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Generator, GoesOnFromWhereTextsPart) {
  auto engine = MakeEngine(TinyLlama());
  PrefixCache prefix;
  const Item said = NoiseItem(20, 37, 1);
  Ask(*engine, said, &prefix);
  const Item other = Joined(Item(said.begin(), said.begin() + 12), {(said[12] + 1) % 37, 3});
  ExpectSame(Ask(*engine, other, &prefix), Ask(*engine, other, nullptr));
  EXPECT_EQ(prefix.reused, 12);
}

TEST(Generator, ReadsTheLastTokenOfATextItKnows) {
  auto engine = MakeEngine(TinyLlama());
  PrefixCache prefix;
  const Item said = NoiseItem(20, 37, 1);
  const Answer first = Ask(*engine, said, &prefix);
  ExpectSame(Ask(*engine, said, &prefix), first);
  EXPECT_EQ(prefix.reused, 19);
  const Item shorter(said.begin(), said.begin() + 5);
  ExpectSame(Ask(*engine, shorter, &prefix), Ask(*engine, shorter, nullptr));
  EXPECT_EQ(prefix.reused, 4);
}

TEST(Generator, ForgetsWhatOtherWeightsRead) {
  auto engine = MakeEngine(TinyLlama());
  PrefixCache prefix;
  const Item said = NoiseItem(20, 37, 1);
  Ask(*engine, said, &prefix);
  LearnSomething(*engine);
  ExpectSame(Ask(*engine, said, &prefix), Ask(*engine, said, nullptr));
  EXPECT_EQ(prefix.reused, 0);
  Ask(*engine, said, &prefix);
  EXPECT_EQ(prefix.reused, 19);
  ASSERT_OK(engine->WeightsChanged());
  Ask(*engine, said, &prefix);
  EXPECT_EQ(prefix.reused, 0);
  auto another = MakeEngine(TinyLlama(), {.seed = 7});
  ExpectSame(Ask(*another, said, &prefix), Ask(*another, said, nullptr));
  EXPECT_EQ(prefix.reused, 0);
}

TEST(Generator, KeepsThePrefixOfOnePromptOnly) {
  auto engine = MakeEngine(TinyLlama());
  PrefixCache prefix;
  const std::vector<Item> two = {{1, 2}, {3}};
  EXPECT_THAT(engine->Sample(
                  two, {}, [](const SampledToken&) { return true; }, &prefix),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("one prompt")));
}

TEST(Generator, SaysWhichTokenIsTheLast) {
  auto engine = MakeEngine(TinyLlama());
  const std::vector<Item> prompts = {NoiseItem(5, 37, 1), NoiseItem(9, 37, 2)};
  std::vector<std::vector<bool>> is_last(2);
  const auto sample = [&](const SampleOptions& options) {
    is_last = std::vector<std::vector<bool>>(2);
    EXPECT_OK(engine->Sample(prompts, options, [&](const SampledToken& token) {
      is_last[token.prompt].push_back(token.is_last);
      return true;
    }));
  };
  sample({.max_new_tokens = 3, .temperature = 0});
  EXPECT_THAT(is_last, testing::Each(testing::ElementsAre(false, false, true)));
  const Item first = Ask(*engine, prompts[0], nullptr, 1).ids;
  sample({.max_new_tokens = 3, .temperature = 0, .stop_ids = first});
  EXPECT_THAT(is_last[0], testing::ElementsAre(true));
}

TEST(Generator, AnswersInBfloat16WithNothingWider) {
  auto teacher = MakeEngine(TinyLlama(), {.precision = Precision::kBfloat16});
  auto engine = MakeEngine(TinyLlama(), {.precision = Precision::kBfloat16, .learns = false});
  ASSERT_OK_AND_ASSIGN(const auto from, teacher->Parameters());
  ASSERT_OK_AND_ASSIGN(const auto to, engine->Parameters());
  for (size_t i = 0; i < to.size(); ++i) std::copy_n(from[i].master, from[i].count, to[i].master);
  ASSERT_OK(engine->WeightsChanged());
  const Item prompt = NoiseItem(20, 37, 1);
  const Answer expected = Ask(*teacher, prompt, nullptr);
  const Answer answer = Ask(*engine, prompt, nullptr);
  EXPECT_EQ(answer.ids, expected.ids);
  EXPECT_EQ(answer.logprobs, expected.logprobs);
  // What it holds is what it shows: the teacher's masters, rounded.
  ASSERT_OK_AND_ASSIGN(const auto shown, engine->Parameters());
  EXPECT_EQ(shown[0].master[0], static_cast<float>(c10::BFloat16(from[0].master[0])));
}

}  // namespace
}  // namespace trainyard::worker
