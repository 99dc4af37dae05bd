// The tokenizer and chat template of a GGUF file as the small files of a Hugging Face folder, and
// back.
#pragma once

#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_writer.h"
#include "worker/checkpoint/model_source.h"
#include "worker/model_text/model_text.h"

namespace trainyard::worker {

// tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja and the files
// of additional_chat_templates, those of which the file knows something. Errors of
// TokenizerJsonFromGguf; InvalidArgument naming a key that does not fit.
StatusOr<std::vector<SmallFile>> TextFromGguf(const GgufMetadata& metadata, int64_t max_positions);

// The keys of a GGUF file for the files of a folder: tokenizer.ggml.*, tokenizer.chat_template,
// and tokenizer.chat_template.NAME with tokenizer.chat_templates for the named ones.
// Errors of GgufFromTokenizerJson.
StatusOr<GgufWriter::Keys> GgufTextKeys(const std::vector<SmallFile>& files,
                                        const nlohmann::ordered_json& config);

}  // namespace trainyard::worker
