#include "worker/checkpoint/model_folder.h"

#include <fmt/format.h>

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

// One line of a Markdown table; the values come from users.
std::string Row(std::string_view what, std::string value) {
  for (char& c : value)
    if (c == '|' || c == '\n' || c == '\r') c = ' ';
  return fmt::format("| {} | {} |\n", what, value);
}

}  // namespace

ordered_json TokenizerConfigJson(const TokenizerContents& tokenizer) {
  ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"clean_up_tokenization_spaces", false}};
  if (tokenizer.max_length > 0) config["model_max_length"] = tokenizer.max_length;
  const std::pair<const char*, const SpecialToken*> special[] = {
      {"bos_token", &tokenizer.bos},  {"eos_token", &tokenizer.eos}, {"pad_token", &tokenizer.pad},
      {"unk_token", &tokenizer.unk},  {"cls_token", &tokenizer.cls}, {"sep_token", &tokenizer.sep},
      {"mask_token", &tokenizer.mask}};
  for (const auto& [key, token] : special)
    if (!token->text.empty()) config[key] = token->text;
  return config;
}

ordered_json GenerationConfigJson(const TokenizerContents& tokenizer) {
  ordered_json config = {{"_from_model_config", true}};
  if (tokenizer.bos.id >= 0) config["bos_token_id"] = tokenizer.bos.id;
  if (tokenizer.eos.id >= 0) config["eos_token_id"] = tokenizer.eos.id;
  if (tokenizer.pad.id >= 0) config["pad_token_id"] = tokenizer.pad.id;
  return config;
}

std::string ModelCardText(const ModelCard& card) {
  std::string text =
      fmt::format("---\nlibrary_name: transformers\npipeline_tag: {}\ntags:\n- trainyard\n---\n\n",
                  card.masked ? "fill-mask" : "text-generation");
  text += fmt::format("# {}, step {}\n\nTrained with Trainyard.\n\n| | |\n|---|---|\n", card.job,
                      card.step);
  text += Row("Job", card.job);
  text += Row("Step", fmt::format("{}", card.step));
  text += Row("Optimiser updates", fmt::format("{}", card.update_count));
  text += Row("Parameters", fmt::format("{}", card.parameter_count));
  text += Row("Data", card.data);
  if (!card.data_sha256.empty()) text += Row("SHA-256 of the data", card.data_sha256);
  if (card.masked)
    text +=
        "\n```python\nfrom transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline\n\n"
        "tokenizer = AutoTokenizer.from_pretrained(\".\")\n"
        "model = AutoModelForMaskedLM.from_pretrained(\".\")\n"
        "fill = pipeline(\"fill-mask\", model=model, tokenizer=tokenizer)\n"
        "print(fill(f\"A word is {fill.tokenizer.mask_token} here.\"))\n```\n\n";
  else
    text +=
        "\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        "tokenizer = AutoTokenizer.from_pretrained(\".\")\n"
        "model = AutoModelForCausalLM.from_pretrained(\".\")\n"
        "ids = tokenizer(\"Once\", return_tensors=\"pt\").input_ids\n"
        "print(tokenizer.decode(model.generate(ids, max_new_tokens=50)[0]))\n```\n\n";
  text +=
      "The folder `trainyard/` holds the optimiser's state; loading the model does not need it.\n";
  return text;
}

}  // namespace trainyard::worker
