#include "worker/text/tokenizer.h"

#include <limits>
#include <utility>

#include "common/require.h"
#include "worker/text/abi_call.h"

namespace trainyard::worker {
namespace {

uint32_t FlagsOf(const EncodeOptions& options) {
  return (options.add_special_tokens ? TY_ADD_SPECIAL : 0) |
         (options.parse_special_tokens ? TY_PARSE_SPECIAL : 0);
}

template <class Function, class... Args>
Status Call(Function function, Args... args) {
  return CallCrate("tokenizer", function, args...);
}

int32_t KindOf(TokenizerKind kind) {
  switch (kind) {
    case TokenizerKind::kBpe:
      return TY_BPE;
    case TokenizerKind::kWordPiece:
      return TY_WORD_PIECE;
    case TokenizerKind::kUnigram:
      return TY_UNIGRAM;
  }
  return -1;
}

Status CheckId(int32_t id) {
  if (id >= 0) return OkStatus();
  return InvalidArgument("tokenizer: the token id {} is negative", id);
}

}  // namespace

void Tokenizer::Free::operator()(TyTokenizer* tokenizer) const { ty_tokenizer_free(tokenizer); }
void TokenizerTrainer::Free::operator()(TyTrainer* trainer) const { ty_trainer_free(trainer); }
void DecodeStream::Free::operator()(TyStream* stream) const { ty_stream_free(stream); }

Tokenizer::Tokenizer(Handle handle, std::string json)
    : handle_(std::move(handle)),
      json_(std::move(json)),
      vocab_size_(static_cast<int64_t>(ty_tokenizer_vocab_size(handle_.get()))) {}

StatusOr<Tokenizer> Tokenizer::Load(std::string_view json) {
  TyTokenizer* tokenizer = nullptr;
  RETURN_IF_ERROR(Call(ty_tokenizer_load, SliceOf(json), &tokenizer));
  Tokenizer loaded{Handle(tokenizer), std::string(json)};
  if (loaded.vocab_size_ < 1 || loaded.vocab_size_ > std::numeric_limits<int32_t>::max())
    return InvalidArgument("tokenizer: a vocabulary of {} entries cannot be used",
                           loaded.vocab_size_);
  return loaded;
}

StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                 const EncodeOptions& options) const {
  ASSIGN_OR_RETURN(EncodedTexts encoded, EncodeAll({&text, 1}, options));
  return std::move(encoded.ids);
}

StatusOr<EncodedTexts> Tokenizer::EncodeAll(std::span<const std::string_view> texts,
                                            const EncodeOptions& options) const {
  const std::vector<TySlice> slices = SlicesOf(texts);
  OwnedArray<TyIds> ids;
  OwnedArray<TySizes> ends;
  RETURN_IF_ERROR(Call(ty_tokenizer_encode, handle_.get(), slices.data(), slices.size(),
                       FlagsOf(options), &ids.array, &ends.array));
  return EncodedTexts{{ids.begin(), ids.end()}, {ends.begin(), ends.end()}};
}

StatusOr<EncodedText> Tokenizer::EncodeWithRanges(std::string_view text,
                                                  const EncodeOptions& options) const {
  OwnedArray<TyIds> ids;
  OwnedArray<TySizes> offsets;
  RETURN_IF_ERROR(Call(ty_tokenizer_encode_offsets, handle_.get(), SliceOf(text), FlagsOf(options),
                       &ids.array, &offsets.array));
  REQUIRE(offsets.array.size == 2 * ids.array.size);
  EncodedText encoded{{ids.begin(), ids.end()}, {}};
  encoded.ranges.reserve(ids.array.size);
  for (size_t i = 0; i < offsets.array.size; i += 2)
    encoded.ranges.push_back({offsets.array.data[i], offsets.array.data[i + 1]});
  return encoded;
}

StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                        bool skip_special_tokens) const {
  for (const int32_t id : ids) RETURN_IF_ERROR(CheckId(id));
  OwnedArray<TyBytes> text;
  RETURN_IF_ERROR(Call(ty_tokenizer_decode, handle_.get(),
                       reinterpret_cast<const uint32_t*>(ids.data()), ids.size(),
                       skip_special_tokens ? uint32_t{TY_SKIP_SPECIAL} : 0u, &text.array));
  return text.text();
}

DecodeStream Tokenizer::StartDecoding(bool skip_special_tokens) const {
  return DecodeStream(
      ty_stream_new(handle_.get(), skip_special_tokens ? uint32_t{TY_SKIP_SPECIAL} : 0u));
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  uint32_t id = 0;
  if (ty_tokenizer_token_to_id(handle_.get(), SliceOf(token), &id) == 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

std::string Tokenizer::SpecialText(int32_t id) const {
  const StatusOr<std::string> without = Decode({&id, 1}, /*skip_special_tokens=*/true);
  if (!without.ok() || !without->empty()) return {};
  return Decode({&id, 1}).value_or("");
}

StatusOr<std::string> Tokenizer::IdToToken(int32_t id) const {
  RETURN_IF_ERROR(CheckId(id));
  OwnedArray<TyBytes> token;
  RETURN_IF_ERROR(
      Call(ty_tokenizer_id_to_token, handle_.get(), static_cast<uint32_t>(id), &token.array));
  return token.text();
}

StatusOr<std::vector<uint32_t>> Tokenizer::TokenSizes() const {
  OwnedArray<TyIds> sizes;
  RETURN_IF_ERROR(Call(ty_tokenizer_token_sizes, handle_.get(), &sizes.array));
  return std::vector<uint32_t>(sizes.begin(), sizes.end());
}

DecodeStream::DecodeStream(TyStream* stream) : stream_(stream) { REQUIRE(stream != nullptr); }

StatusOr<std::string> DecodeStream::Step(int32_t id) {
  RETURN_IF_ERROR(CheckId(id));
  OwnedArray<TyBytes> text;
  RETURN_IF_ERROR(Call(ty_stream_step, stream_.get(), static_cast<uint32_t>(id), &text.array));
  return text.text();
}

StatusOr<std::string> DecodeStream::Finish() {
  OwnedArray<TyBytes> text;
  RETURN_IF_ERROR(Call(ty_stream_finish, stream_.get(), &text.array));
  return text.text();
}

StatusOr<TokenizerKind> TokenizerKindNamed(std::string_view name) {
  if (name == "bpe") return TokenizerKind::kBpe;
  if (name == "wordpiece") return TokenizerKind::kWordPiece;
  if (name == "unigram") return TokenizerKind::kUnigram;
  return InvalidArgument("tokenizer: no kind is called {}; there are bpe, wordpiece and unigram",
                         name);
}

std::vector<std::string> BertSpecialTokens() {
  return {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
}

std::vector<std::string> SpecialTokensFor(TokenizerKind kind, bool with_mask) {
  if (kind == TokenizerKind::kWordPiece) return BertSpecialTokens();
  std::vector<std::string> tokens = {std::string(kEndOfText)};
  if (with_mask) tokens.emplace_back("<mask>");
  return tokens;
}

TokenizerTrainer::TokenizerTrainer(const TokenizerText& text)
    : trainer_(ty_trainer_new({KindOf(text.kind), text.lowercase,
                               text.strip_accents.has_value() ? *text.strip_accents : -1,
                               text.split_chinese})) {
  REQUIRE(trainer_ != nullptr);
}

Status TokenizerTrainer::Feed(std::span<const std::string_view> texts) {
  const std::vector<TySlice> slices = SlicesOf(texts);
  return Call(ty_trainer_feed, trainer_.get(), slices.data(), slices.size());
}

StatusOr<Tokenizer> TokenizerTrainer::Finish(const TokenizerTrainingOptions& options) {
  // The crate takes memory for the whole vocabulary before it learns the first entry.
  if (options.vocab_size < 1 || options.vocab_size > kVocabSizeMax)
    return InvalidArgument("tokenizer: vocab_size must be between 1 and {}, got {}", kVocabSizeMax,
                           options.vocab_size);
  if (options.min_frequency < 0 || options.alphabet_size < 1)
    return InvalidArgument(
        "tokenizer: min_frequency {} must not be negative, alphabet_size {} is at least 1",
        options.min_frequency, options.alphabet_size);
  const std::vector<std::string_view> special(options.special_tokens.begin(),
                                              options.special_tokens.end());
  const std::vector<TySlice> slices = SlicesOf(special);
  TyTokenizer* tokenizer = nullptr;
  RETURN_IF_ERROR(Call(ty_trainer_finish, trainer_.get(), static_cast<size_t>(options.vocab_size),
                       static_cast<uint64_t>(options.min_frequency),
                       static_cast<size_t>(options.alphabet_size), slices.data(), slices.size(),
                       &tokenizer));
  Tokenizer::Handle handle(tokenizer);
  OwnedArray<TyBytes> json;
  RETURN_IF_ERROR(Call(ty_tokenizer_json, handle.get(), &json.array));
  return Tokenizer(std::move(handle), json.text());
}

}  // namespace trainyard::worker
