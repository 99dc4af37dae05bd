#include "worker/loop/job_tokens.h"

#include <memory>
#include <string_view>
#include <utility>

namespace trainyard::worker {
namespace {

// The first of these that the tokenizer has.
SpecialToken Find(const Tokenizer& tokenizer, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (const auto id = tokenizer.TokenToId(name)) return {.text = std::string(name), .id = *id};
  return {};
}

StatusOr<SpecialToken> Named(const Tokenizer& tokenizer, int32_t id) {
  ASSIGN_OR_RETURN(std::string text, tokenizer.IdToToken(id));
  return SpecialToken{.text = std::move(text), .id = id};
}

}  // namespace

StatusOr<std::optional<Masking>> MaskingOfJob(const JobSpec& spec, const Tokenizer& tokenizer) {
  if (spec.objective != "masked") return std::optional<Masking>();
  auto vocabulary = MaskingVocabulary::Of(tokenizer);
  if (!vocabulary.ok())
    return WithField(Annotate(vocabulary.status(), "objective masked"),
                     !spec.tokenizer.from.empty() ? "tokenizer.from"
                     : !spec.model.from.empty()   ? "model.from"
                                                  : "tokenizer");
  ASSIGN_OR_RETURN(
      Masking masking,
      Masking::Create(
          std::make_shared<const MaskingVocabulary>(*std::move(vocabulary)),
          {.probability = spec.masking.probability, .whole_word = spec.masking.whole_word},
          static_cast<uint64_t>(spec.train.seed)));
  return std::optional<Masking>(std::move(masking));
}

StatusOr<TokenizerContents> TokenizerOfCheckpoint(const JobSpec& spec, const PreparedData& data,
                                                  const StartingModel& model,
                                                  const Masking* masking) {
  const Tokenizer& tokenizer = *data.tokenizer;
  ASSIGN_OR_RETURN(const SpecialToken end_of_text, Named(tokenizer, data.end_of_text));
  TokenizerContents contents{.tokenizer_json = tokenizer.json(),
                             .max_length = spec.train.max_length,
                             .files = model.tokenizer_files};
  if (masking == nullptr) {
    contents.bos = contents.eos = contents.pad = end_of_text;
    const std::pair<const char*, SpecialToken*> own[] = {{"bos_token_id", &contents.bos},
                                                         {"pad_token_id", &contents.pad}};
    for (const auto& [key, token] : own) {
      if (model.token(key) < 0) continue;
      ASSIGN_OR_RETURN(*token, Named(tokenizer, model.token(key)));
    }
    return contents;
  }
  ASSIGN_OR_RETURN(contents.mask, Named(tokenizer, masking->vocabulary().mask));
  contents.cls = Find(tokenizer, {"[CLS]", "<s>", "<cls>"});
  contents.sep = Find(tokenizer, {"[SEP]", "</s>", "<sep>"});
  contents.unk = Find(tokenizer, {"[UNK]", "<unk>"});
  contents.pad = Find(tokenizer, {"[PAD]", "<pad>"});
  if (contents.pad.id < 0) contents.pad = end_of_text;
  return contents;
}

}  // namespace trainyard::worker
