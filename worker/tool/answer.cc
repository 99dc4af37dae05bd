#include "worker/tool/answer.h"

#include <algorithm>
#include <utility>

namespace trainyard::worker {

Answer::Answer(const OpenedModel& model, const std::vector<std::string>& stop, Show show)
    : end_ids_(model.end_ids),
      tokenizer_(model.tokenizer),
      stream_(model.tokenizer.StartDecoding(/*skip_special_tokens=*/true)),
      stops_(stop),
      show_(std::move(show)) {}

void Answer::Add(const std::string& text) {
  text_ += text;
  if (show_) show_(text);
}

StatusOr<bool> Answer::Take(int32_t id) {
  if (std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end()) return false;
  ++tokens_;
  ASSIGN_OR_RETURN(const std::string text, stream_.Step(id));
  Add(stops_.Feed(text));
  // A special token is not shown, but a stop text may name it.
  if (!stops_.empty()) Add(stops_.FeedHidden(tokenizer_.SpecialText(id)));
  return !stops_.stopped() && !(asked_ && asked_());
}

Status Answer::Finish() {
  if (stops_.stopped()) return OkStatus();
  ASSIGN_OR_RETURN(const std::string rest, stream_.Finish());
  Add(stops_.Feed(rest));
  Add(stops_.Finish());
  return OkStatus();
}

SampleOptions SampleOptionsOf(const SamplingWords& words, const OpenedModel& model) {
  return {.max_new_tokens = words.max_new_tokens,
          .temperature = words.temperature,
          .top_k = words.top_k,
          .top_p = words.top_p,
          .min_p = words.min_p,
          .repetition_penalty = words.repetition_penalty,
          .seed = static_cast<uint64_t>(words.seed),
          .stop_ids = model.end_ids};
}

Status Continue(const OpenedModel& model, const std::vector<int32_t>& prompt,
                const SamplingWords& words, Answer& answer, PrefixCache* prefix) {
  Status taken = OkStatus();
  RETURN_IF_ERROR(model.engine->Sample(
      {&prompt, 1}, SampleOptionsOf(words, model),
      [&](const SampledToken& token) {
        const StatusOr<bool> goes_on = answer.Take(token.id);
        taken = goes_on.status();
        return goes_on.ok() && *goes_on;
      },
      prefix));
  RETURN_IF_ERROR(taken);
  return answer.Finish();
}

}  // namespace trainyard::worker
