#include "tests/worker/loop/tiny_job.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/require.h"
#include "common/rng.h"
#include "tests/support/places.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;

std::string JobText(const fs::path& folder) {
  return fmt::format(R"(version: 1
name: tiny
kind: pretrain
model:
  config: {{model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
           num_key_value_heads: 2, intermediate_size: 160, max_position_embeddings: 64,
           tie_word_embeddings: true}}
tokenizer: {{train: {{vocab_size: 512}}}}
data:
  train: [{{path: {0}/train.txt, format: text}}]
  validation: [{{path: {0}/validation.txt, format: text}}]
train: {{max_steps: 12, global_batch_size: 8, micro_batch_size: 4, max_length: 64,
        learning_rate: 4.0e-3, warmup_steps: 2, seed: 7, precision: fp32}}
checkpoint: {{save_steps: 4, save_total_limit: 100}}
evaluation: {{eval_steps: 6, max_rows: 8}}
)",
                     folder.string());
}

void Write(const fs::path& path, const std::string& text) {
  REQUIRE(WriteFileAtomically(path, text).ok());
}

}  // namespace

std::string GrammarText(size_t bytes, uint64_t seed) {
  const std::vector<std::string> names = {"Anna",  "Boris", "Clara", "David", "Emma",  "Felix",
                                          "Greta", "Henry", "Irene", "Jacob", "Karla", "Lucas"};
  const std::vector<std::string> verbs = {"greets",    "follows", "remembers", "mistrusts",
                                          "paints",    "carries", "forgives",  "invites",
                                          "questions", "admires"};
  const std::vector<std::string> places = {"harbour", "orchard", "library", "mountain", "market",
                                           "chapel",  "garden",  "station", "theatre",  "meadow"};
  const std::vector<std::string> times = {"morning", "evening", "winter",  "summer", "thunderstorm",
                                          "holiday", "harvest", "eclipse", "parade", "wedding"};
  const Rng rng{.seed = seed, .purpose = Purpose::kSample};
  std::string text;
  for (uint64_t i = 0; text.size() < bytes; ++i) {
    const auto pick = [&](const std::vector<std::string>& words, uint64_t which) {
      return words[rng.Below(words.size(), i, which)];
    };
    text += fmt::format("In the {} near the old {}, {} {} {} and number {} of the {}.\n",
                        pick(times, 0), pick(places, 1), pick(names, 2), pick(verbs, 3),
                        pick(names, 4), rng.Below(1000, i, 5), pick(places, 6));
  }
  return text;
}

fs::path TrainerProgram() { return ProgramFolder() / "trainyard-trainer"; }

TinyJob::TinyJob() : file_(folder_.path() / "job.yaml") {
  Write(file_, JobText(folder_.path()));
  Write(folder_.path() / "train.txt", GrammarText(60'000, 1));
  Write(folder_.path() / "validation.txt", GrammarText(4'000, 2));
}

StatusOr<Process> TinyJob::Start(const std::string& out, const std::vector<std::string>& more,
                                 int64_t file_bytes_max) const {
  ProcessOptions options{.command = {TrainerProgram(), "run", file_, "--out", Out(out)},
                         .secret = "",
                         .file_bytes_max = file_bytes_max};
  options.command.insert(options.command.end(), more.begin(), more.end());
  return Process::Start(options);
}

StatusOr<int> TinyJob::Run(const std::string& out, const std::vector<std::string>& more,
                           std::string* output) const {
  ASSIGN_OR_RETURN(Process process, Start(out, more));
  const StatusOr<int> code = process.Wait();
  if (output != nullptr) *output = process.output();
  return code;
}

StatusOr<fs::path> TinyJob::CheckpointOf(const std::string& out, int64_t step) const {
  const std::string prefix = fmt::format("step-{:08}-a", step);
  const fs::path folder = Out(out) / "checkpoints" / "tiny";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(prefix)) return entry.path();
  }
  return NotFound("no checkpoint of step {} in {}", step, folder.string());
}

StatusOr<std::string> TinyJob::WeightsOf(const std::string& out, int64_t step) const {
  ASSIGN_OR_RETURN(const fs::path folder, CheckpointOf(out, step));
  ASSIGN_OR_RETURN(const std::string weights, Sha256OfFile(folder / "model.safetensors"));
  ASSIGN_OR_RETURN(const std::string moments,
                   Sha256OfFile(folder / "trainyard" / "optimizer-policy.safetensors"));
  return weights + moments;
}

Curve TinyJob::Metric(const std::string& out, const std::string& name) const {
  Curve curve;
  std::ifstream file(Out(out) / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto point = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line cut short by a kill is no point.
    if (!point.is_discarded() && point["name"] == name) curve[point["step"]] = point["value"];
  }
  return curve;
}

}  // namespace trainyard::worker
