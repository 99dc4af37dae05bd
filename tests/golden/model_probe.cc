// Shows what the engine computes on a model, for the Python oracles beside this file:
//
//   model_probe MODEL REQUEST.json OUT
//
// The request has "items" (lists of ids) and "want": "logits" and "hidden" write OUT/<name>.f32,
// one row of float32 per token of all items; "logprobs" writes of each token but an item's first
// the log-probability. With "prompts", OUT/greedy.json gets up to "max_new_tokens" ids for each.
// "threads" and "stop_ids" are optional. With "models", names of folders in MODEL, each is asked
// and answers in OUT/<name>, where error.txt says why if it cannot. "configs" are contents of
// config.json: OUT/configs.json gets of each the "config" as it is understood, or the "error", and
// the "notes".
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/model/config_keys.h"
#include "common/model/layout.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/model_source.h"
#include "worker/engine/engine.h"
#include "worker/model/transformer.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;
using Item = std::vector<int32_t>;

struct Subject {
  std::unique_ptr<Engine> engine;
  std::vector<ParameterSpec> layout;
  Tensor weights;

  Transformer Model() const { return {engine->config(), layout, weights, at::zeros_like(weights)}; }
};

StatusOr<Subject> Open(const std::filesystem::path& path, int threads) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(path));
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(json(source.config())));
  Subject subject;
  ASSIGN_OR_RETURN(subject.engine, Engine::Create(config, {.threads = threads, .learns = false}));
  ASSIGN_OR_RETURN(const auto parameters, subject.engine->Parameters());
  RETURN_IF_ERROR(ReadWeights(path, parameters));
  RETURN_IF_ERROR(subject.engine->WeightsChanged());
  subject.layout = ParameterLayout(config);
  subject.weights = at::from_blob(parameters[0].master, {config.parameter_count()}, at::kFloat);
  return subject;
}

Batch BatchOf(const Item& item) {
  Batch batch;
  batch.token_ids_T = item;
  for (size_t i = 0; i < item.size(); ++i) {
    batch.target_ids_T.push_back(i + 1 < item.size() ? item[i + 1] : kNoTarget);
    batch.position_ids_T.push_back(static_cast<int32_t>(i));
  }
  batch.cu_seqlens = {0, static_cast<int32_t>(item.size())};
  return batch;
}

void Append(std::ofstream& out, const Tensor& rows) {
  const Tensor floats = rows.to(at::kFloat).contiguous();
  out.write(static_cast<const char*>(floats.const_data_ptr()),
            static_cast<std::streamsize>(floats.nbytes()));
}

Status WriteRows(const Subject& subject, const std::vector<Item>& items, const std::string& want,
                 const std::filesystem::path& folder) {
  const WithoutAutograd guard;
  std::ofstream out(folder / (want + ".f32"), std::ios::binary);
  const Transformer model = subject.Model();
  for (const Item& item : items) {
    if (want == "logprobs") {
      ASSIGN_OR_RETURN(const TokenOutputs outputs, subject.engine->Forward(BatchOf(item)));
      Append(out, at::tensor(outputs.logprob_N));
      continue;
    }
    const Tensor hidden = model.Forward(BatchOf(item), nullptr);
    PredictionHead::Saved unused;
    Append(out, want == "hidden"
                    ? hidden
                    : HeadLogits(model.head().Transform(hidden, unused), model.head().weights()));
  }
  return out.flush() ? OkStatus() : Internal("cannot write to {}", folder.string());
}

Status Answer(const std::filesystem::path& model, const json& request,
              const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const Subject subject, Open(model, request.value("threads", 1)));
  const auto items = request.value("items", std::vector<Item>());
  for (const std::string& want : request.value("want", std::vector<std::string>())) {
    RETURN_IF_ERROR(WriteRows(subject, items, want, folder));
  }
  const auto prompts = request.value("prompts", std::vector<Item>());
  if (prompts.empty()) return OkStatus();
  std::vector<Item> answers(prompts.size());
  RETURN_IF_ERROR(subject.engine->Sample(prompts,
                                         {.max_new_tokens = request.at("max_new_tokens"),
                                          .temperature = 0,
                                          .stop_ids = request.value("stop_ids", Item())},
                                         [&](const SampledToken& token) {
                                           answers[token.prompt].push_back(token.id);
                                           return true;
                                         }));
  std::ofstream(folder / "greedy.json") << json(answers).dump();
  return OkStatus();
}

json Understood(const json& given) {
  const StatusOr<ModelConfig> config = ModelConfigFromJson(given);
  json answer = {{"notes", ConfigNotes(given, /*trains=*/false)}};
  if (config.ok()) {
    answer["config"] = ModelConfigToJson(*config);
  } else {
    answer["error"] = MessageOf(config.status());
  }
  return answer;
}

Status AnswerAll(const std::filesystem::path& models, const json& request,
                 const std::filesystem::path& folder) {
  if (request.contains("configs")) {
    json answers = json::array();
    for (const json& given : request.at("configs")) answers.push_back(Understood(given));
    std::ofstream(folder / "configs.json") << answers.dump();
    return OkStatus();
  }
  if (!request.contains("models")) return Answer(models, request, folder);
  for (const std::string name : request.at("models")) {
    RETURN_IF_ERROR(MakeFolders(folder / name));
    const Status answered = Answer(models / name, request, folder / name);
    if (!answered.ok()) std::ofstream(folder / name / "error.txt") << MessageOf(answered);
  }
  return OkStatus();
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: model_probe MODEL REQUEST.json OUT\n");
    return 2;
  }
  const auto request = nlohmann::json::parse(std::ifstream(argv[2]));
  const trainyard::Status answered = trainyard::worker::AnswerAll(argv[1], request, argv[3]);
  if (!answered.ok()) std::fprintf(stderr, "%s\n", trainyard::MessageOf(answered).c_str());
  return answered.ok() ? 0 : 1;
}
