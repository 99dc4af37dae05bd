#include "worker/tool/doctor.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

// A ChatML model: <|im_end|> has id 1, <s> id 2.
class Doctor : public testing::Test {
 protected:
  Doctor() {
    TokenizerTrainer trainer;
    const std::string_view text = "Hi Hello user assistant Hi Hello user assistant";
    EXPECT_OK(trainer.Feed({&text, 1}));
    auto made = trainer.Finish(
        {.vocab_size = 262, .special_tokens = {"<|im_start|>", "<|im_end|>", "<s>"}});
    EXPECT_OK(made.status());
    tokenizer_.emplace(*std::move(made));
    config_.vocab_size = tokenizer_->vocab_size();
    config_.eos_id = 1;
    parts_.end_ids = {1};
    UseTemplate(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}");
    parts_.config = &config_;
    parts_.tokenizer = &*tokenizer_;
    parts_.tokenizer_config = {{"eos_token", "<|im_end|>"}, {"bos_token", {{"content", "<s>"}}}};
  }

  void UseTemplate(std::string_view source) {
    auto compiled = ChatTemplate::Compile(source);
    ASSERT_OK(compiled.status());
    template_.emplace(*std::move(compiled));
    parts_.chat_template = &*template_;
  }
  static auto Says(const char* words) { return Field(&Finding::what, HasSubstr(words)); }

  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  ModelConfig config_;
  ModelParts parts_;
};

TEST_F(Doctor, FindsNothingWhereEverythingFits) {
  EXPECT_THAT(CheckSpecialTokens(parts_), IsEmpty());
  EXPECT_THAT(CheckTemplate(parts_), IsEmpty());
}

TEST_F(Doctor, ComparesTheVocabularyWithTheEmbedding) {
  config_.vocab_size += 10;
  EXPECT_THAT(CheckSpecialTokens(parts_), ElementsAre(Says("10 rows more")));
  config_.vocab_size -= 20;
  const auto findings = CheckSpecialTokens(parts_);
  ASSERT_THAT(findings, ElementsAre(Says("the tokenizer has 262 ids, the embedding 252 rows")));
  EXPECT_EQ(findings[0].severity, Finding::Severity::kProblem);
}

TEST_F(Doctor, MissesAnEndAndTokensThatTheTokenizerDoesNotHave) {
  config_.eos_id = -1;
  parts_.end_ids = {};
  parts_.tokenizer_config["pad_token"] = "<pad>";
  EXPECT_THAT(CheckSpecialTokens(parts_), ElementsAre(Says("no eos_token_id"), Says("<pad>")));
  parts_.end_ids = {1, 2};
  EXPECT_THAT(CheckSpecialTokens(parts_), ElementsAre(Says("<pad>")));
}

TEST_F(Doctor, SeesFilesThatDisagreeAboutTheEnd) {
  config_.eos_id = 2;
  parts_.end_ids = {2};
  EXPECT_THAT(CheckSpecialTokens(parts_),
              ElementsAre(Says("eos_token is \"<|im_end|>\" with id 1, but config.json's "
                               "eos_token_id is 2")));
  parts_.tokenizer_config["pad_token"] = "<|im_end|>";
  EXPECT_THAT(CheckSpecialTokens(parts_), Contains(Says("both \"<|im_end|>\"")));
}

TEST_F(Doctor, ContentsItselfWithOneOfSeveralEnds) {
  config_.eos_id = 2;
  parts_.end_ids = {2, 1};
  EXPECT_THAT(CheckSpecialTokens(parts_), IsEmpty());
  EXPECT_THAT(CheckTemplate(parts_), IsEmpty());
}

TEST_F(Doctor, SeesATemplateWhoseMarksAreNoTokens) {
  UseTemplate("{% for m in messages %}<|user|>{{ m.content }}<|im_end|>{% endfor %}");
  EXPECT_THAT(CheckTemplate(parts_), ElementsAre(Says("writes \"<|user|>\", which is no token")));
}

TEST_F(Doctor, SeesATurnThatEndsWithNothingThatEndsAnAnswer) {
  UseTemplate("{% for m in messages %}<|im_start|>{{ m.content }}\n{% endfor %}");
  EXPECT_THAT(CheckTemplate(parts_), ElementsAre(Says("speak for the user")));
}

TEST_F(Doctor, PassesOnWhatTheTemplateRefuses) {
  UseTemplate("{{ raise_exception('system first') }}");
  EXPECT_THAT(CheckTemplate(parts_), ElementsAre(Says("system first")));
}

}  // namespace
}  // namespace trainyard::worker
