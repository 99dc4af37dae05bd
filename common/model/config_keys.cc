#include "common/model/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string_view>

#include "common/model/json_fields.h"

namespace trainyard {
namespace {

using nlohmann::json;

// Of transformers' base class, and what older versions of it wrote into every file.
constexpr const char* kInertEverywhere[] = {"_attn_implementation",
                                            "_attn_implementation_autoset",
                                            "_commit_hash",
                                            "_name_or_path",
                                            "attn_implementation",
                                            "chunk_size_feed_forward",
                                            "classifier_dropout",
                                            "cls_token_id",
                                            "cross_attention_hidden_size",
                                            "decoder_start_token_id",
                                            "dtype",
                                            "experts_implementation",
                                            "finetuning_task",
                                            "gradient_checkpointing",
                                            "id2label",
                                            "is_encoder_decoder",
                                            "label2id",
                                            "mask_token_id",
                                            "model_max_length",
                                            "name_or_path",
                                            "num_labels",
                                            "output_attentions",
                                            "output_hidden_states",
                                            "output_past",
                                            "prefix",
                                            "problem_type",
                                            "return_dict",
                                            "sep_token_id",
                                            "task_specific_params",
                                            "tf_legacy_loss",
                                            "tie_encoder_decoder",
                                            "tie_last_hidden_states",
                                            "tokenizer_class",
                                            "torch_dtype",
                                            "torchscript",
                                            "transformers_version",
                                            "unk_token_id",
                                            "use_bfloat16",
                                            "use_cache",
                                            "use_return_dict"};
// Generation's, which versions before 5 wrote into config.json. transformers leaves them unread.
constexpr const char* kOfGeneration[] = {"assistant_confidence_threshold",
                                         "assistant_lookbehind",
                                         "bad_words_ids",
                                         "begin_suppress_tokens",
                                         "cache_implementation",
                                         "diversity_penalty",
                                         "do_sample",
                                         "early_stopping",
                                         "encoder_no_repeat_ngram_size",
                                         "encoder_repetition_penalty",
                                         "epsilon_cutoff",
                                         "eta_cutoff",
                                         "exponential_decay_length_penalty",
                                         "forced_bos_token_id",
                                         "forced_eos_token_id",
                                         "length_penalty",
                                         "max_length",
                                         "max_new_tokens",
                                         "min_length",
                                         "no_repeat_ngram_size",
                                         "num_assistant_tokens",
                                         "num_assistant_tokens_schedule",
                                         "num_beam_groups",
                                         "num_beams",
                                         "num_return_sequences",
                                         "output_scores",
                                         "remove_invalid_values",
                                         "repetition_penalty",
                                         "return_dict_in_generate",
                                         "suppress_tokens",
                                         "target_lookbehind",
                                         "temperature",
                                         "top_k",
                                         "top_p",
                                         "typical_p"};

class KeyTable {
 public:
  void Add(KeyUse use, std::initializer_list<const char*> names) {
    for (const char* name : names) Add({.name = name, .use = use});
  }
  // The last word on a key counts.
  void Add(ConfigKey key) { keys_[key.name] = std::move(key); }
  std::vector<ConfigKey> Take() {
    std::vector<ConfigKey> list;
    for (auto& [name, key] : keys_) list.push_back(std::move(key));
    return list;
  }

 private:
  std::map<std::string, ConfigKey> keys_;
};

void AddCommon(const Family& family, KeyTable& table) {
  for (const char* name : kInertEverywhere) table.Add({.name = name});
  for (const char* name : kOfGeneration) table.Add({.name = name});
  table.Add(KeyUse::kRead, {"architectures", "bos_token_id", "eos_token_id", "initializer_range",
                            "model_type", "pad_token_id", "tie_word_embeddings", "vocab_size"});
  const ConfigKeys& keys = family.keys;
  for (const std::string& name : {keys.hidden_size, keys.layers, keys.heads, keys.mlp_width,
                                  keys.max_positions, keys.norm_epsilon, keys.activation}) {
    if (!name.empty()) table.Add({.name = name, .use = KeyUse::kRead});
  }
  for (const auto& [alias, key] : keys.aliases) table.Add({.name = alias, .use = KeyUse::kRead});
  table.Add({.name = "per_layer_config", .use = KeyUse::kNeutral, .neutral = json::object()});
  table.Add({.name = "pruned_heads", .use = KeyUse::kNeutral, .neutral = json::object()});
  table.Add({.name = "quantization_config", .use = KeyUse::kNeutral});
}

void AddDecoder(const Family& family, KeyTable& table) {
  table.Add(KeyUse::kRead,
            {"head_dim", "is_causal", "num_key_value_heads", "original_max_position_embeddings",
             "partial_rotary_factor", "rope_parameters", "rope_scaling", "rope_theta"});
  table.Add(KeyUse::kDropout, {"attention_dropout"});
  table.Add(KeyUse::kInert, {"add_cross_attention", "is_decoder"});
  if (family.qkv_bias == Bias::kByKey) table.Add(KeyUse::kRead, {"attention_bias"});
  if (family.mlp_bias == Bias::kByKey) table.Add(KeyUse::kRead, {"mlp_bias"});
  if (family.defaults.sliding_window > 0) table.Add(KeyUse::kRead, {"sliding_window"});
  if (family.model_type == "llama") table.Add(KeyUse::kInert, {"pretraining_tp"});
  if (family.model_type.starts_with("qwen")) {
    table.Add(KeyUse::kRead, {"layer_types", "max_window_layers", "use_sliding_window"});
  }
  if (family.norm_offset == 0) return;  // not a Gemma
  table.Add(KeyUse::kRead, {"attn_logit_softcapping", "final_logit_softcapping", "layer_types",
                            "query_pre_attn_scalar"});
  // What Gemma's first files call hidden_activation; transformers passes over it.
  table.Add(KeyUse::kInert, {"hidden_act"});
  if (family.model_type == "gemma2") {
    // Its masks stay causal: only is_causal opens them.
    table.Add(KeyUse::kInert, {"use_bidirectional_attention"});
    return;
  }
  table.Add(KeyUse::kRead,
            {"rope_local_base_freq", "sliding_window_pattern", "use_bidirectional_attention"});
  table.Add(KeyUse::kInert, {"_sliding_window_pattern"});
}

void AddGpt2(KeyTable& table) {
  table.Add(KeyUse::kRead, {"is_causal", "scale_attn_by_inverse_layer_idx", "scale_attn_weights"});
  table.Add(KeyUse::kDropout, {"attn_pdrop", "embd_pdrop", "resid_pdrop"});
  table.Add(KeyUse::kInert, {"is_decoder", "n_ctx", "reorder_and_upcast_attn", "summary_activation",
                             "summary_first_dropout", "summary_proj_to_labels", "summary_type",
                             "summary_use_proj"});
  table.Add({.name = "add_cross_attention", .use = KeyUse::kNeutral, .neutral = false});
}

void AddEncoder(const Family& family, KeyTable& table) {
  if (family.model_type == "distilbert") {
    table.Add(KeyUse::kDropout, {"attention_dropout", "dropout"});
    // The table of places lies in the file, however it was first filled.
    table.Add(KeyUse::kInert, {"add_cross_attention", "is_decoder", "qa_dropout",
                               "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_"});
    // True: transformers' eager attention looks both ways, its default one only back.
    table.Add({.name = "is_causal", .use = KeyUse::kNeutral, .neutral = false});
  } else {
    table.Add(KeyUse::kRead, {"is_causal", "is_decoder", "type_vocab_size"});
    table.Add(KeyUse::kDropout, {"attention_probs_dropout_prob", "hidden_dropout_prob"});
    table.Add(KeyUse::kInert, {"directionality", "pooler_fc_size", "pooler_num_attention_heads",
                               "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"});
    table.Add({.name = "add_cross_attention", .use = KeyUse::kNeutral, .neutral = false});
  }
  // transformers 4's; its other values add tables that version 5 has no place for.
  table.Add({.name = "position_embedding_type", .use = KeyUse::kNeutral, .neutral = "absolute"});
}

bool IsDropped(const json& value) { return value.is_number() && value.get<double>() > 0; }

std::vector<std::string> UnknownKeys(const json& config, const std::vector<ConfigKey>& known) {
  std::vector<std::string> unknown;
  for (const auto& item : config.items()) {
    const bool is_known = std::any_of(known.begin(), known.end(),
                                      [&](const ConfigKey& key) { return key.name == item.key(); });
    if (!is_known && !item.value().is_null()) unknown.push_back(item.key());
  }
  return unknown;
}

bool HasFields(const json& config, const char* key) {
  return config.contains(key) && config.at(key).is_object() && !config.at(key).empty();
}

void AddRopeNotes(const json& config, const Family& family, std::vector<std::string>& notes) {
  if (family.position != PositionKind::kRope) return;
  const bool layered = family.model_type == "gemma3_text";
  const bool scaling = HasFields(config, "rope_scaling");
  if (scaling && HasFields(config, "rope_parameters") && !layered) {
    notes.push_back(
        "rope_scaling stands beside rope_parameters: rope_scaling counts alone, for rope_theta "
        "too");
  }
  if (layered || (!scaling && !HasFields(config, "rope_parameters"))) return;
  const json& fields = config.at(scaling ? "rope_scaling" : "rope_parameters");
  const json kind = fields.value("rope_type", fields.value("type", json("default")));
  if (kind != "yarn" && kind != "llama3") return;
  constexpr char kOriginal[] = "original_max_position_embeddings";
  if (IsSet(config, kOriginal) && IsSet(fields, kOriginal) &&
      config.at(kOriginal) != fields.at(kOriginal)) {
    notes.push_back(fmt::format("{} = {} counts before the {} of {}", kOriginal,
                                config.at(kOriginal).dump(), fields.at(kOriginal).dump(),
                                scaling ? "rope_scaling" : "rope_parameters"));
  }
  if (!IsSet(config, kOriginal) && !IsSet(fields, kOriginal)) {
    notes.push_back(
        fmt::format("there is no {}: max_position_embeddings stands for it", kOriginal));
  }
}

}  // namespace

std::vector<ConfigKey> ConfigKeysOf(const Family& family) {
  KeyTable table;
  AddCommon(family, table);
  if (family.position == PositionKind::kRope) {
    AddDecoder(family, table);
  } else if (family.causal) {
    AddGpt2(table);
  } else {
    AddEncoder(family, table);
  }
  return table.Take();
}

Status CheckConfigKeys(const json& config, const Family& family) {
  for (const ConfigKey& key : ConfigKeysOf(family)) {
    if (key.use != KeyUse::kNeutral || !IsSet(config, key.name)) continue;
    const json& value = config.at(key.name);
    if (value == key.neutral) continue;
    return InvalidArgument("{} = {} changes a {} in a way that is not supported; only {} is",
                           key.name, value.dump(), family.model_type, key.neutral.dump());
  }
  return OkStatus();
}

std::vector<std::string> ConfigNotes(const json& config, bool trains) {
  std::vector<std::string> notes;
  if (!config.is_object() || !IsSet(config, "model_type") || !config.at("model_type").is_string()) {
    return notes;
  }
  const StatusOr<const Family*> family = FindFamily(config.at("model_type").get<std::string>());
  if (!family.ok()) return notes;
  const std::vector<ConfigKey> known = ConfigKeysOf(**family);
  if (const auto unknown = UnknownKeys(config, known); !unknown.empty()) {
    notes.push_back(fmt::format("not read, since a {} has no such key: {}", (*family)->model_type,
                                fmt::join(unknown, ", ")));
  }
  if ((*family)->causal && config.value("is_causal", json(true)) == false) {
    notes.push_back("is_causal is false: a token sees what is after it, too");
  }
  if ((*family)->model_type == "gemma3_text" && IsSet(config, "attn_logit_softcapping")) {
    notes.push_back("attn_logit_softcapping changes nothing in a gemma3_text");
  }
  AddRopeNotes(config, **family, notes);
  if (!trains) return notes;
  std::vector<std::string> dropouts;
  for (const ConfigKey& key : known) {
    if (key.use == KeyUse::kDropout && config.contains(key.name) && IsDropped(config[key.name]))
      dropouts.push_back(key.name);
  }
  if (!dropouts.empty()) {
    notes.push_back(
        fmt::format("trained without dropout: {} is not used", fmt::join(dropouts, ", ")));
  }
  return notes;
}

}  // namespace trainyard
