#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/engine.h"
#include "worker/text/tokenizer.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

StatusOr<std::unique_ptr<Engine>> OpenModel(const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.model / "config.json"));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return InvalidArgument("{}: not valid JSON", (options.model / "config.json").string());
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(json));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                   Engine::Create(config, {.threads = options.threads}));
  ASSIGN_OR_RETURN(const auto parameters, engine->Parameters());
  RETURN_IF_ERROR(ReadWeights(options.model, parameters));
  RETURN_IF_ERROR(engine->WeightsChanged());
  return engine;
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

std::filesystem::path TokenizerFile(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json" : path;
}

Status Generate(const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(TokenizerFile(options.model)));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(json));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, OpenModel(options));
  // As transformers does: only what the tokenizer's own template adds.
  ASSIGN_OR_RETURN(std::vector<int32_t> prompt,
                   tokenizer.Encode(options.prompt, {.add_special_tokens = true}));
  const ModelConfig& config = engine->config();
  if (prompt.empty() && config.bos_id >= 0) prompt.push_back(config.bos_id);

  SampleOptions sample{.max_new_tokens = options.max_new_tokens,
                       .temperature = options.temperature,
                       .top_k = options.top_k,
                       .top_p = options.top_p,
                       .seed = static_cast<uint64_t>(options.seed),
                       .stop_ids = {}};
  if (config.eos_id >= 0) sample.stop_ids.push_back(config.eos_id);
  Print(options.prompt);
  DecodeStream stream = tokenizer.StartDecoding(/*skip_special_tokens=*/true);
  Status decoded = OkStatus();
  RETURN_IF_ERROR(engine->Sample({&prompt, 1}, sample, [&](const SampledToken& token) {
    if (token.id == config.eos_id) return false;
    const StatusOr<std::string> text = stream.Step(token.id);
    if (text.ok()) Print(*text);
    decoded = text.status();
    return decoded.ok();
  }));
  RETURN_IF_ERROR(decoded);
  ASSIGN_OR_RETURN(const std::string rest, stream.Finish());
  Print(rest + "\n");
  return OkStatus();
}

}  // namespace trainyard::worker
