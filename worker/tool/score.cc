// tool score: how likely a model finds texts, as lm-evaluation-harness counts.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "worker/data/scoring.h"
#include "worker/loop/loglikelihood.h"
#include "worker/tool/open_model.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kFileBytesMax = int64_t{256} << 20;

// What is asked of a line: windows [first, end) of all, and what they make.
struct Line {
  size_t first = 0, end = 0;
  std::string rolling_text;  // empty: a pair
};

StatusOr<std::string> TextAt(const nlohmann::json& object, const char* key) {
  if (object.contains(key) && object[key].is_string()) return object[key].get<std::string>();
  return InvalidArgument("wants the texts \"context\" and \"continuation\", or \"text\"");
}

Status AddLine(std::string_view text, const Tokenizer& tokenizer, const ScoringRules& rules,
               int64_t max_length, std::vector<ScoredText>& windows, Line& line) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return InvalidArgument("is no JSON object");
  line.first = windows.size();
  if (object.contains("text")) {
    ASSIGN_OR_RETURN(line.rolling_text, TextAt(object, "text"));
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                     EncodeScored(tokenizer, line.rolling_text, rules));
    for (ScoredText& window : RollingWindows(tokens, rules.prefix_token, max_length))
      windows.push_back(std::move(window));
  } else {
    ASSIGN_OR_RETURN(const std::string context, TextAt(object, "context"));
    ASSIGN_OR_RETURN(const std::string continuation, TextAt(object, "continuation"));
    ASSIGN_OR_RETURN(ScoredText pair, EncodePair(tokenizer, context, continuation, rules));
    windows.push_back(std::move(pair));
  }
  line.end = windows.size();
  return OkStatus();
}

nlohmann::ordered_json Answer(const Line& line, const std::vector<LogLikelihood>& scores) {
  LogLikelihood sum;
  for (size_t i = line.first; i < line.end; ++i) {
    sum.nats += scores[i].nats;
    sum.tokens += scores[i].tokens;
    sum.is_greedy = sum.is_greedy && scores[i].is_greedy;
  }
  nlohmann::ordered_json answer = {{"loglikelihood", sum.nats}, {"tokens", sum.tokens}};
  if (line.rolling_text.empty()) {
    answer["is_greedy"] = sum.is_greedy;
  } else {
    answer["words"] = WordsOf(line.rolling_text);
    answer["bytes"] = line.rolling_text.size();
  }
  return answer;
}

}  // namespace

Status ScoreTool(const ScoreToolOptions& options) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(options.model, options.open));
  const ModelConfig& config = model.engine->config();
  StatusOr<ScoringRules> rules =
      ScoringRulesOf(model.tokenizer, model.template_variables, options.bos_twice);
  if (!rules.ok()) return Annotate(rules.status(), options.model.string());
  const int64_t max_length = options.max_length > 0 ? options.max_length : config.max_length();
  if (max_length > config.max_length())
    return InvalidArgument("--max-length is {}, the model has positions for {} tokens", max_length,
                           config.max_length());
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.texts, kFileBytesMax));
  std::vector<ScoredText> windows;
  std::vector<Line> lines;
  for (size_t begin = 0, number = 1; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.empty()) continue;
    const Status added =
        AddLine(line, model.tokenizer, *rules, max_length, windows, lines.emplace_back());
    if (!added.ok()) return Annotate(added, fmt::format("{}:{}", options.texts.string(), number));
  }
  ASSIGN_OR_RETURN(const std::vector<LogLikelihood> scores,
                   Score(*model.engine, windows, {.max_length = max_length}));
  for (const Line& line : lines) std::printf("%s\n", Answer(line, scores).dump().c_str());
  return OkStatus();
}

}  // namespace trainyard::worker
