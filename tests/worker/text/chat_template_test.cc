#include "worker/text/chat_template.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::string_view kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + "
    "'<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr std::string_view kMarked =
    "{% for message in messages %}\n"
    "<{{ message.role }}>\n"
    "{%- if message.role == 'assistant' %}\n"
    "  {%- generation %}{{ message.content }}</s>{% endgeneration -%}\n"
    "{%- else %}{{ message.content }}{% endif %}\n"
    "{% endfor %}";
constexpr std::string_view kTwoTurns =
    R"([{"role":"user","content":"hi"},{"role":"assistant","content":"yes 😀"},)"
    R"({"role":"user","content":"and"},{"role":"assistant","content":"no"}])";

StatusOr<std::string> Render(std::string_view source, ChatInput input = {.messages = "[]"},
                             const ChatTemplateLimits& limits = {}) {
  ASSIGN_OR_RETURN(const ChatTemplate chat_template, ChatTemplate::Compile(source, limits));
  return chat_template.Render(input);
}

// What the assistant wrote, as text.
StatusOr<std::vector<std::string>> Generated(std::string_view source, std::string_view messages) {
  ASSIGN_OR_RETURN(const ChatTemplate chat_template, ChatTemplate::Compile(source));
  ASSIGN_OR_RETURN(const RenderedChat chat, chat_template.RenderWithSpans({.messages = messages}));
  std::vector<std::string> texts;
  for (const TextRange& range : chat.generated)
    texts.push_back(chat.text.substr(range.begin, range.end - range.begin));
  return texts;
}

TEST(ChatTemplate, RendersAConversation) {
  EXPECT_EQ(*Render(kChatMl, {.messages = kTwoTurns, .add_generation_prompt = true}),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes 😀<|im_end|>\n"
            "<|im_start|>user\nand<|im_end|>\n<|im_start|>assistant\nno<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, SeesToolsAndVariables) {
  const ChatInput input = {.messages = R"([{"role":"user","content":null,"n":1.0}])",
                           .tools = R"([{"name":"f","b":1,"a":"é"}])",
                           .variables = R"({"bos_token":"<s>","deep":true})"};
  EXPECT_EQ(*Render("{{ bos_token }}{{ deep }}{% for tool in tools %}{{ tool | tojson }}{% endfor "
                    "%}{{ messages[0].content is defined }}{{ messages[0].n }}",
                    input),
            R"(<s>True{"name": "f", "b": 1, "a": "é"}False1.0)");
}

TEST(ChatTemplate, SaysWhatRaiseExceptionSays) {
  EXPECT_THAT(
      Render("a\n{{ raise_exception('roles must alternate') }}"),
      StatusIs(StatusCode::kInvalidArgument, "chat template: line 2: roles must alternate"));
}

TEST(ChatTemplate, ReadsTheTimeItIsGiven) {
  const ChatInput input = {
      .messages = "[]",
      .now = absl::FromCivil(absl::CivilSecond(2024, 2, 29, 15, 4, 5), absl::UTCTimeZone())};
  EXPECT_EQ(*Render("{{ strftime_now('%d %b %Y, %A %B %-d %H:%M:%S %I %p %j %y %%') }}", input),
            "29 Feb 2024, Thursday February 29 15:04:05 03 PM 060 24 %");
  EXPECT_EQ(*Render("{{ strftime_now('%U %W %V %G %g %C %k %l %P %r %Z|') }}", input),
            "08 09 09 2024 24 20 15  3 pm 03:04:05 PM |");
  EXPECT_THAT(Render("{{ strftime_now('%Y') }}"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("none was given")));
  EXPECT_THAT(Render("{{ strftime_now('%Q') }}", input),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("%Q")));
}

TEST(ChatTemplate, FindsNoneNotIterableAndTextIterable) {
  EXPECT_EQ(*Render("{% if tools is iterable %}a{% endif %}{% if 'x' is iterable %}b{% endif %}"
                    "{% if missing is iterable %}c{% endif %}{% if 1 is iterable %}d{% endif %}"),
            "bc");
}

TEST(ChatTemplate, KeepsTheLineBreakAtTheEndOfAnIndentedText) {
  EXPECT_EQ(*Render("{{ 'a\n\nb\n' | indent(2) }}|{{ 'a\nb' | indent(first=true, width='>') }}"),
            "a\n\n  b\n|>a\n>b");
}

TEST(ChatTemplate, TakesTheArgumentsOfFiltersByTheirNames) {
  EXPECT_EQ(*Render("{{ '' | default('x', boolean=true) }}{{ '' | d('x') }}{{ a | d('y') }}"),
            "xy");
}

TEST(ChatTemplate, RefusesWhatItCannotRead) {
  EXPECT_THAT(ChatTemplate::Compile("a\n{% if x %}"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("line 2")));
  EXPECT_THAT(ChatTemplate::Compile("\xff"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("byte 0")));
  EXPECT_THAT(Render("", {.messages = "[{]"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("messages are not JSON")));
  EXPECT_THAT(Render("", {.messages = "{}"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("messages")));
  EXPECT_THAT(Render("", {.messages = "[1]"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("message 0")));
  EXPECT_THAT(Render("", {.messages = "[]", .tools = "{}"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("tools")));
}

class Endless : public testing::TestWithParam<std::string_view> {};

TEST_P(Endless, IsStoppedWithAWord) {
  const ChatTemplateLimits limits = {.steps_max = 100'000, .output_bytes_max = 1 << 20};
  EXPECT_THAT(Render(GetParam(), {.messages = "[]"}, limits),
              StatusIs(StatusCode::kResourceExhausted, StartsWith("chat template: ")))
      << GetParam();
}

INSTANTIATE_TEST_SUITE_P(
    ChatTemplate, Endless,
    testing::Values(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for a in [[1]] recursive %}{{ loop([[a, a]]) }}{% endfor %}",
        "{% macro f(a) %}{{ f(a + a) }}{% endmacro %}{{ f([1]) }}",
        "{% for i in range(99999) %}{{ 'abcdefgh' * 1000 }}{% endfor %}",
        "{{ 'x' * 1000000000000 }}", "{{ ('x' * 10000).replace('x', 'x' * 10000) }}",
        "{% set ns = namespace(t='x') %}{% for i in range(90) %}{% set ns.t = ns.t + ns.t %}"
        "{% endfor %}{{ ns.t }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(90) %}{% set ns.l = ns.l + ns.l %}"
        "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(90) %}"
        "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(90) %}"
        "{% set ns.l = ns.l | batch(2, ns.l) | list %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}{{ ns.x }}"));

TEST(ChatTemplate, LetsNamespacesHoldThemselves) {
  EXPECT_EQ(*Render("{% set ns = namespace(a=1) %}{% set ns.x = [ns] %}{% set ns.t %}b{% endset %}"
                    "{{ ns.x }}{{ ns.a }}{{ ns.t }}{{ ns == ns }}"),
            "[<Namespace {'a': 1, 'x': [...], 't': 'b'}>]1bTrue");
}

TEST(ChatTemplate, EndsWhereLoopsAndMacrosHoldThemselves) {
  EXPECT_EQ(*Render("{% set ns = namespace(l=1) %}{% for i in range(5000) %}{% for x in [i] %}"
                    "{% with g = ns.l %}{% macro m() %}{{ g }}{% endmacro %}{% set ns.l = m %}"
                    "{% endwith %}{% endfor %}{% endfor %}{{ ns.l is callable }}"),
            "True");
  EXPECT_THAT(Render("{% set ns = namespace(l=1) %}{% for i in range(5000) %}{% for x in [ns.l] %}"
                     "{% set ns.l = loop %}{% endfor %}{% endfor %}"),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("nested")));
  EXPECT_THAT(Render("{% set ns = namespace(l=[1]) %}{% for i in range(5000) %}"
                     "{% set ns.l = ns.l | map('default', ns.l) %}{% endfor %}"),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("nested")));
}

TEST(ChatTemplate, NamesWhatItCannotDoAsPython) {
  for (const auto& [source, word] : std::initializer_list<std::pair<const char*, const char*>>{
           {"{{ 'a'.upper }}", "address"},
           {"{{ [1, 2] | random }}", "random"},
           {"{{ lipsum() }}", "lipsum"},
           {"{{ 10 ** 40 }}", "128 bits"},
           {"{{ '9' * 40 | int }}{{ ('9' * 40) | int }}", "128 bits"},
           {"{{ 'a'.encode() }}", "bytes"},
           {"{% include 'x' %}", "no other templates"}})
    EXPECT_THAT(Render(source), StatusIs(StatusCode::kInvalidArgument, HasSubstr(word))) << source;
}

TEST(ChatTemplate, RefusesSourcesThatAreTooLarge) {
  EXPECT_THAT(ChatTemplate::Compile("12345", {.source_bytes_max = 4}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("5 bytes")));
  std::string chain = "{{ a";
  for (int i = 0; i < 20'000; ++i) chain += "+1";
  EXPECT_THAT(ChatTemplate::Compile(chain + " }}"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("split it up")));
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "{% if a %}";
  EXPECT_THAT(ChatTemplate::Compile(nested),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("recursion")));
  std::string elif = "{% if a %}";
  for (int i = 0; i < 15'000; ++i) elif += "{% elif b %}";
  EXPECT_OK(Render(elif + "{% endif %}"));
}

TEST(GenerationBlocks, GiveTheSpansAndLeaveTheTextAlone) {
  ASSERT_OK_AND_ASSIGN(const ChatTemplate chat_template, ChatTemplate::Compile(kMarked));
  EXPECT_TRUE(chat_template.marks_generation());
  ASSERT_OK_AND_ASSIGN(const RenderedChat chat,
                       chat_template.RenderWithSpans({.messages = kTwoTurns}));
  EXPECT_EQ(chat.text, "<user>hi<assistant>yes 😀</s><user>and<assistant>no</s>");
  EXPECT_EQ(chat.text, *chat_template.Render({.messages = kTwoTurns}));
  EXPECT_THAT(*Generated(kMarked, kTwoTurns), ElementsAre("yes 😀</s>", "no</s>"));
}

TEST(GenerationBlocks, CannotBeFakedByAMessage) {
  // The characters that are taken for marks first.
  const std::string messages =
      R"([{"role":"user","content":"a\udbff\udffdb\udbff\udffcc"},{"role":"assistant",)"
      R"("content":"x\udbff\udffdy{% generation %}"}])";
  EXPECT_THAT(*Generated(kMarked, messages), ElementsAre("x\xF4\x8F\xBF\xBDy{% generation %}</s>"));
}

TEST(GenerationBlocks, AreFoundInMacrosButNotInTextCommentsOrRaw) {
  EXPECT_THAT(
      *Generated("{% macro f(m) %}[{% generation %}{{ m }}{% endgeneration %}]{% endmacro %}"
                 "{{ 'é' ~ f('in') }}{# {% generation %} #}{% raw %}{% generation %}{% "
                 "endraw %}{{ '{% generation %}' }}",
                 "[]"),
      ElementsAre("in"));
}

TEST(GenerationBlocks, HaveAScopeOfTheirOwnAndSeeLoops) {
  EXPECT_EQ(*Render("{% set x = 1 %}{% for i in [7] %}{% generation %}{% set x = 2 %}{{ x }}{{ i }}"
                    "{{ loop.index }}{% endgeneration %}{% endfor %}{{ x }}"),
            "2711");
}

TEST(GenerationBlocks, AreRefusedWhereTheTemplateChangesWhatTheyRendered) {
  EXPECT_THAT(
      Generated("{% set t %}{% generation %} a {% endgeneration %}{% endset %}{{ t | trim }}",
                "[]"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("{% generation %}")));
}

TEST(SpansWithoutBlocks, AreWhatATurnAddsToTheText) {
  EXPECT_THAT(*Generated(kChatMl, kTwoTurns), ElementsAre("yes 😀<|im_end|>", "no<|im_end|>"));
  EXPECT_THAT(*Generated(kChatMl, R"([{"role":"assistant","content":""}])"),
              ElementsAre("<|im_end|>"));
  EXPECT_THAT(*Generated(kChatMl, R"([{"role":"user","content":"q"}])"), IsEmpty());
}

TEST(SpansWithoutBlocks, KeepTheWhiteSpaceTheAssistantWrote) {
  EXPECT_THAT(*Generated("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
                         "{% if add_generation_prompt %}assistant: {% endif %}",
                         R"([{"role":"assistant","content":"a \n"}])"),
              ElementsAre("a \n"));
}

TEST(SpansWithoutBlocks, AreFoundWhenThePromptIsWrittenUnasked) {
  EXPECT_THAT(*Generated("{% for m in messages %}<{{ m.role }}>{{ m.content }}<e>{% endfor %}"
                         "<assistant>",
                         kTwoTurns),
              ElementsAre("yes 😀<e>", "no<e>"));
}

TEST(SpansWithoutBlocks, AreRefusedWhereALaterTurnChangesAnEarlierOne) {
  constexpr std::string_view kForgets =
      "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' and not loop.last %}..."
      "{% else %}{{ m.content }}{% endif %}{% endfor %}"
      "{% if add_generation_prompt %}assistant: {% endif %}";
  EXPECT_THAT(Generated(kForgets, kTwoTurns),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("message 1"), HasSubstr("{% generation %}"))));
  EXPECT_THAT(*Generated(kForgets, R"([{"role":"assistant","content":"last"}])"),
              ElementsAre("last"));
}

TEST(TokenizeChat, TrainsTheTokensOfTheAssistant) {
  TokenizerTrainer trainer;
  const std::string_view text = "yes no yes no yes no <user>hi<assistant> 😀 😀 😀";
  ASSERT_OK(trainer.Feed({&text, 1}));
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       trainer.Finish({.vocab_size = 262, .special_tokens = {"</s>", "<user>"}}));
  ASSERT_OK_AND_ASSIGN(const ChatTemplate chat_template, ChatTemplate::Compile(kMarked));
  ASSERT_OK_AND_ASSIGN(const RenderedChat chat,
                       chat_template.RenderWithSpans({.messages = kTwoTurns}));
  ASSERT_OK_AND_ASSIGN(const TokenizedChat tokens, TokenizeChat(tokenizer, chat));
  ASSERT_EQ(tokens.trained.size(), tokens.ids.size());
  std::vector<int32_t> trained, rest;
  for (size_t i = 0; i < tokens.ids.size(); ++i)
    (tokens.trained[i] ? trained : rest).push_back(tokens.ids[i]);
  EXPECT_EQ(*tokenizer.Decode(trained), "yes 😀</s>no</s>");
  EXPECT_EQ(*tokenizer.Decode(rest), "<user>hi<assistant><user>and<assistant>");
  EXPECT_THAT(rest, testing::Contains(1));  // <user> is one token
}

TEST(ChooseChatTemplate, PutsTheFileFirst) {
  constexpr std::string_view kConfig = R"({"chat_template":"from config"})";
  EXPECT_EQ(*ChooseChatTemplate({.jinja_file = "from file", .tokenizer_config = kConfig}),
            "from file");
  EXPECT_EQ(*ChooseChatTemplate({.tokenizer_config = kConfig}), "from config");
}

TEST(ChooseChatTemplate, PicksFromAList) {
  constexpr std::string_view kConfig =
      R"({"chat_template":[{"name":"default","template":"d"},{"name":"tool_use","template":"t"}]})";
  EXPECT_EQ(*ChooseChatTemplate({.tokenizer_config = kConfig}), "d");
  EXPECT_EQ(*ChooseChatTemplate({.tokenizer_config = kConfig, .with_tools = true}), "t");
  EXPECT_EQ(*ChooseChatTemplate({.tokenizer_config = kConfig, .name = "tool_use"}), "t");
  EXPECT_THAT(ChooseChatTemplate({.tokenizer_config = kConfig, .name = "rag"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("default, tool_use")));
}

TEST(ChooseChatTemplate, SaysWhenThereIsNone) {
  EXPECT_THAT(ChooseChatTemplate({.tokenizer_config = "{}"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("chat_template.jinja")));
  EXPECT_THAT(ChooseChatTemplate({.tokenizer_config = "["}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("JSON")));
  EXPECT_THAT(ChooseChatTemplate({.tokenizer_config = R"({"chat_template":[1]})"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("entry")));
  EXPECT_THAT(ChooseChatTemplate({.tokenizer_config = R"({"chat_template":1})"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("neither")));
}

TEST(ChooseChatTemplate, TakesNamedFilesBeforeTheConfig) {
  const std::vector<NamedTemplate> additional = {{"tool_use", "t"}, {"rag", "r"}};
  const TemplateChoice both = {.jinja_file = "d",
                               .tokenizer_config = R"({"chat_template":"old"})",
                               .additional = additional};
  const auto with = [&](std::string_view name, bool tools) {
    TemplateChoice choice = both;
    choice.name = name;
    choice.with_tools = tools;
    return *ChooseChatTemplate(choice);
  };
  EXPECT_EQ(with("", false), "d");
  EXPECT_EQ(with("", true), "t");
  EXPECT_EQ(with("rag", true), "r");
  EXPECT_THAT(ChooseChatTemplate({.additional = additional}),
              StatusIs(StatusCode::kNotFound, HasSubstr("tool_use, rag")));
}

TEST(TemplateVariables, AreTheSpecialTokens) {
  EXPECT_EQ(
      *TemplateVariables(
          {.tokenizer_config =
               R"({"bos_token":null,"eos_token":{"content":"</s>"},"pad_token":"<p>","x":1})"}),
      R"({"eos_token":"</s>","pad_token":"<p>"})");
}

TEST(TemplateVariables, ComeFromTheMapUnlessTheConfigHasTheAddedTokens) {
  constexpr std::string_view kMap = R"({"bos_token":"<m>","image_token":{"content":"<i>"}})";
  EXPECT_EQ(*TemplateVariables(
                {.tokenizer_config = R"({"bos_token":"<c>"})", .special_tokens_map = kMap}),
            R"({"bos_token":"<m>","image_token":"<i>"})");
  EXPECT_EQ(
      *TemplateVariables({.tokenizer_config = R"({"bos_token":"<c>","added_tokens_decoder":{}})",
                          .special_tokens_map = kMap}),
      R"({"bos_token":"<c>"})");
}

TEST(TemplateVariables, AreThoseOfTheClassWhereNoFileNamesThem) {
  EXPECT_EQ(
      *TemplateVariables(
          {.tokenizer_config =
               R"({"tokenizer_class":"Qwen2TokenizerFast","eos_token":"<|im_end|>"})"}),
      R"({"eos_token":"<|im_end|>","unk_token":"<|endoftext|>","pad_token":"<|endoftext|>"})");
}

}  // namespace
}  // namespace trainyard::worker
