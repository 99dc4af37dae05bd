#include "worker/checkpoint/gguf_key_rules.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/gguf_writer.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The notes on a model four wide with two heads and these further keys.
StatusOr<std::vector<std::string>> Check(const std::string& architecture,
                                         const GgufWriter::Keys& more) {
  GgufMetadata metadata;
  metadata.values = {{architecture + ".block_count", GgufUint32(2)},
                     {architecture + ".embedding_length", GgufUint32(4)},
                     {architecture + ".attention.head_count", GgufUint32(2)}};
  for (const auto& [key, value] : more) metadata.values[architecture + "." + key] = value;
  return CheckGgufKeys(metadata, GgufFields(metadata, architecture));
}

TEST(GgufKeyRules, WhatIsUsedForOneArchitectureIsNotForAnother) {
  EXPECT_EQ(RuleOfGgufKey("gemma3", "rope.freq_base_swa"), GgufKeyRule::kUsed);
  EXPECT_EQ(RuleOfGgufKey("gemma2", "rope.freq_base_swa"), GgufKeyRule::kNeutral);
  EXPECT_EQ(RuleOfGgufKey("llama", "rope.freq_base_swa"), GgufKeyRule::kUnread);
  EXPECT_EQ(RuleOfGgufKey("llama", "rope.scale_linear"), GgufKeyRule::kUsed);
  EXPECT_EQ(RuleOfGgufKey("gpt2", "rope.scale_linear"), GgufKeyRule::kUnread);
  EXPECT_EQ(RuleOfGgufKey("bert", "pooling_type"), GgufKeyRule::kHarmless);
}

TEST(GgufKeyRules, AKeyThatIsNotReadIsNamedUnlessItSaysNothing) {
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> notes,
                       Check("llama", {{"rope.scaling.yarn_beta_fast", GgufFloat32(16)},
                                       {"rope.scaling.yarn_beta_slow", GgufFloat32(1)},
                                       {"attention.sliding_window", GgufUint32(0)},
                                       {"made.up", GgufString("x")}}));
  EXPECT_THAT(notes, ElementsAre(HasSubstr("llama.made.up = \"x\" is not used"),
                                 HasSubstr("llama.rope.scaling.yarn_beta_fast = 16 is not used")));
}

TEST(GgufKeyRules, NeutralValuesPassAndOthersAreRefusedByName) {
  EXPECT_THAT(*Check("gpt2", {{"attention.key_length", GgufUint32(2)},
                              {"attention.head_count_kv", GgufInt32s({2, 2})},
                              {"expert_count", GgufUint32(0)}}),
              IsEmpty());
  EXPECT_THAT(Check("gpt2", {{"attention.key_length", GgufUint32(4)}}),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("gpt2.attention.key_length is 4")));
  EXPECT_THAT(Check("llama", {{"expert_count", GgufUint32(8)}}),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("a mixture of experts")));
  EXPECT_THAT(Check("gemma2", {{"attention.key_length", GgufUint32(8)},
                               {"attention.value_length_swa", GgufUint32(2)}}),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("only 8 is")));
}

TEST(GgufKeyRules, ArchitecturesOfTheNamesHaveRules) {
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2", "bert"}) {
    ASSERT_TRUE(ModelTypeOfGguf(architecture).has_value());
    EXPECT_EQ(RuleOfGgufKey(architecture, "block_count"), GgufKeyRule::kUsed) << architecture;
  }
}

TEST(GgufFields, AListOfTheSameNumberIsThatNumber) {
  GgufMetadata metadata;
  metadata.values = {{"a.same", GgufInt32s({3, 3})},
                     {"a.mixed", GgufInt32s({3, 4})},
                     {"a.one", GgufUint32(5)},
                     {"a.none", GgufInt32s({})}};
  const GgufFields fields(metadata, "a");
  EXPECT_EQ(*fields.IntOfLayers("same", 2), 3);
  EXPECT_EQ(*fields.IntOfLayers("one", 2), 5);
  EXPECT_THAT(fields.IntOfLayers("mixed", 2),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("3 in layer 0 but 4 in layer 1")));
  EXPECT_THAT(fields.IntOfLayers("same", 3),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("2 numbers for 3 layers")));
  EXPECT_FALSE(fields.IntOfLayers("none", 0).ok());
}

}  // namespace
}  // namespace trainyard::worker
