// The text of one answer as its tokens come: decoded piece by piece, ended by an end id or where a
// stop string begins.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "worker/tool/open_model.h"
#include "worker/tool/stop_strings.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {

class Answer {
 public:
  // `show` sees the text piece by piece. The model outlives the answer.
  using Show = std::function<void(std::string_view text)>;
  Answer(const OpenedModel& model, const std::vector<std::string>& stop, Show show = {});

  // Asked after every token: true ends the answer there.
  void EndWhen(std::function<bool()> asked) { asked_ = std::move(asked); }
  // The next token; false when the answer ends with it.
  StatusOr<bool> Take(int32_t id);
  // What still waits for its rest, at the end.
  Status Finish();

  const std::string& text() const { return text_; }
  int64_t tokens() const { return tokens_; }  // without the end id

 private:
  void Add(const std::string& text);

  const std::vector<int32_t>& end_ids_;
  const Tokenizer& tokenizer_;
  DecodeStream stream_;
  StopStrings stops_;
  const Show show_;
  std::function<bool()> asked_;
  std::string text_;
  int64_t tokens_ = 0;
};

// Writes the answer to one prompt. `prefix` as Engine::Sample has it.
Status Continue(const OpenedModel& model, const std::vector<int32_t>& prompt,
                const SamplingWords& words, Answer& answer, PrefixCache* prefix = nullptr);

SampleOptions SampleOptionsOf(const SamplingWords& words, const OpenedModel& model);

}  // namespace trainyard::worker
