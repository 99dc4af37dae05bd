#include "worker/loop/job_tokens.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "tests/worker/data/masked_text.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

PreparedData DataWith(const std::string& tokenizer_json) {
  PreparedData data;
  data.tokenizer = std::make_shared<const Tokenizer>(*Tokenizer::Load(tokenizer_json));
  data.end_of_text = data.tokenizer->TokenToId("[SEP]").value_or(0);
  return data;
}

std::string BytesJson(const std::vector<std::string>& special) {
  TokenizerTrainer trainer;
  EXPECT_OK(trainer.Feed(std::vector<std::string_view>{"some text"}));
  const auto size = static_cast<int64_t>(256 + special.size());
  return trainer.Finish({.vocab_size = size, .special_tokens = special})->json();
}

TEST(JobTokens, OfAMaskedJobAreThoseOfItsTemplate) {
  JobSpec spec;
  spec.objective = "masked";
  spec.masking.whole_word = true;
  spec.train.max_length = 128;
  const PreparedData data = DataWith(WordPieceJson({"word", "##s"}));
  ASSERT_OK_AND_ASSIGN(const auto masking, MaskingOfJob(spec, *data.tokenizer));
  ASSERT_TRUE(masking.has_value());
  EXPECT_TRUE(masking->options().whole_word);
  ASSERT_OK_AND_ASSIGN(const TokenizerContents contents,
                       TokenizerOfCheckpoint(spec, data, {}, &*masking));
  EXPECT_EQ(TokenizerConfigJson(contents),
            nlohmann::ordered_json::parse(R"({"tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": false, "model_max_length": 128,
                "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
                "sep_token": "[SEP]", "mask_token": "[MASK]"})"));
}

TEST(JobTokens, OfAMaskedJobWithoutATemplatePadWithTheEndOfText) {
  JobSpec spec;
  spec.objective = "masked";
  const PreparedData data = DataWith(BytesJson({"<|endoftext|>", "<mask>"}));
  ASSERT_OK_AND_ASSIGN(const auto masking, MaskingOfJob(spec, *data.tokenizer));
  ASSERT_OK_AND_ASSIGN(const TokenizerContents contents,
                       TokenizerOfCheckpoint(spec, data, {}, &*masking));
  EXPECT_EQ(contents.mask.text, "<mask>");
  EXPECT_EQ(contents.pad.text, "<|endoftext|>");
  EXPECT_EQ(contents.cls.id, -1);
  EXPECT_EQ(contents.bos.id, -1);
}

TEST(JobTokens, OfACausalJobAreTheEndOfText) {
  const PreparedData data = DataWith(BytesJson({"<|endoftext|>"}));
  ASSERT_OK_AND_ASSIGN(const auto masking, MaskingOfJob({}, *data.tokenizer));
  EXPECT_FALSE(masking.has_value());
  ASSERT_OK_AND_ASSIGN(const TokenizerContents contents,
                       TokenizerOfCheckpoint({}, data, {}, nullptr));
  EXPECT_EQ(contents.bos.text, "<|endoftext|>");
  EXPECT_EQ(contents.eos.id, 0);
  EXPECT_EQ(contents.pad.id, 0);
  EXPECT_EQ(contents.mask.id, -1);
}

TEST(JobTokens, OfAModelThatIsTrainedFurtherAreItsOwn) {
  StartingModel model{.path = "",
                      .config = {{"bos_token_id", 1}, {"eos_token_id", {2, 1}}},
                      .tokenizer_json = BytesJson({"<pad>", "<s>", "</s>"}),
                      .tokenizer_files = {{"chat_template.jinja", "{{ messages }}"}},
                      .own_tokenizer = true};
  EXPECT_EQ(model.token("eos_token_id"), 2);
  EXPECT_EQ(model.token("pad_token_id"), -1);
  PreparedData data = DataWith(model.tokenizer_json);
  data.end_of_text = 2;
  ASSERT_OK_AND_ASSIGN(const auto contents, TokenizerOfCheckpoint({}, data, model, nullptr));
  EXPECT_EQ(contents.bos.text, "<s>");
  EXPECT_EQ(contents.eos.text, "</s>");
  EXPECT_EQ(contents.pad.text, "</s>");
  EXPECT_EQ(contents.files.at("chat_template.jinja"), "{{ messages }}");
  model.own_tokenizer = false;  // then its ids mean nothing
  EXPECT_EQ(model.token("eos_token_id"), -1);
}

TEST(JobTokens, OfATokenizerThatCannotMaskAreRefusedByField) {
  JobSpec spec;
  spec.objective = "masked";
  spec.tokenizer.from = "model/";
  const PreparedData data = DataWith(BytesJson({"<|endoftext|>"}));
  const Status refused = MaskingOfJob(spec, *data.tokenizer).status();
  EXPECT_THAT(refused, StatusIs(StatusCode::kInvalidArgument, HasSubstr("no mask token")));
  EXPECT_EQ(FieldOf(refused), "tokenizer.from");
}

}  // namespace
}  // namespace trainyard::worker
