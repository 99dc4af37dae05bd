// What the small files beside a vocabulary say about its special and added tokens, gathered as
// transformers 5 gathers it (PreTrainedTokenizerBase._from_pretrained).
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

// The texts of files; absent where the folder has none.
struct TokenFiles {
  std::optional<std::string_view> tokenizer_config = {};    // tokenizer_config.json
  std::optional<std::string_view> special_tokens_map = {};  // special_tokens_map.json
  std::optional<std::string_view> added_tokens = {};        // added_tokens.json: {"token": id}
};

// How a token is found in text, as "added_tokens" of a tokenizer.json says it.
struct NamedToken {
  std::string content;
  bool lstrip = false, rstrip = false, single_word = false;
  bool normalized = false;     // looked for in the text behind the normalizer
  bool special = true;         // false: a token like any other, but never cut
  bool flags_are_ours = true;  // no file says them
};

struct TokenNames {
  nlohmann::json config = nlohmann::json::object();  // tokenizer_config.json
  std::map<std::string, NamedToken> named;           // "bos_token" -> "<s>"
  std::vector<NamedToken> extra;                     // special tokens without a name of their own
  std::map<int64_t, NamedToken> by_id;               // added_tokens_decoder, else added_tokens.json
  std::vector<std::string> notes;                    // what was read and is not used
};

// tokenizer_config.json's added_tokens_decoder says everything where it is there; else
// special_tokens_map.json goes before tokenizer_config.json and added_tokens.json has the ids.
// InvalidArgument, naming file and key, where one breaks its format.
StatusOr<TokenNames> ReadTokenNames(const TokenFiles& files);

// A tokenizer.json in which every token of `names` is an added token: those that it lacks take the
// id that its vocabulary has for them, else the next free one; ids of `names` that are not used are
// noted there. Unchanged, to the byte, where none is missing. InvalidArgument: it is no
// tokenizer.json.
StatusOr<std::string> WithNamedTokens(std::string_view tokenizer_json, TokenNames& names);

// Puts the tokens of `names` under "added_tokens" of a tokenizer.json whose model.vocab is `vocab`,
// ids by token. Those that the library would number otherwise go into `vocab` too. InvalidArgument:
// a token's id is another's.
Status AddNamedTokens(const TokenNames& names, nlohmann::json& vocab, nlohmann::json& added_tokens,
                      std::vector<std::string>& notes);

}  // namespace trainyard::worker
