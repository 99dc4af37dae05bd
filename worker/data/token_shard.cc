#include "worker/data/token_shard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "common/files.h"
#include "common/require.h"
#include "worker/data/shard_format.h"

namespace trainyard::worker {
namespace {

std::string Hex(std::span<const uint8_t> bytes) {
  std::string hex;
  for (const uint8_t byte : bytes) hex += fmt::format("{:02x}", byte);
  return hex;
}

template <class... Args>
Status Damaged(const std::filesystem::path& path, fmt::format_string<Args...> what,
               Args&&... args) {
  return DataLoss("{} cannot be used as a token shard: {}; prepare the data again", path.string(),
                  fmt::format(what, std::forward<Args>(args)...));
}

Status CheckHeader(const std::filesystem::path& path, const ShardHeader& header,
                   uint64_t file_bytes) {
  if (std::memcmp(header.magic, kShardMagic, sizeof(kShardMagic)) != 0)
    return Damaged(path, "it does not begin with TYTS");
  if (header.version != kShardVersion)
    return Damaged(path, "its version is {}, this program reads {}", header.version, kShardVersion);
  if (header.token_bytes != 2 && header.token_bytes != 4)
    return Damaged(path, "its tokens are said to have {} bytes", header.token_bytes);
  if (header.tokens > kShardTokensMax || header.items > header.tokens ||
      header.vocab_size > kVocabSizeMax || header.vocab_size == 0 ||
      header.end_of_text >= header.vocab_size)
    return Damaged(path, "its header claims {} tokens, {} items, a vocabulary of {}", header.tokens,
                   header.items, header.vocab_size);
  const uint64_t expected = LayoutOf(header).file_bytes;
  if (file_bytes != expected)
    return Damaged(path, "it has {} bytes, its header asks for {}", file_bytes, expected);
  if (std::any_of(std::begin(header.reserved), std::end(header.reserved),
                  [](uint8_t byte) { return byte != 0; }))
    return Damaged(path, "its reserved bytes are not zero");
  return OkStatus();
}

}  // namespace

TokenShard::~TokenShard() {
  if (base_ != nullptr) ::munmap(const_cast<uint8_t*>(base_), static_cast<size_t>(file_bytes_));
}

StatusOr<std::shared_ptr<const TokenShard>> TokenShard::Open(const std::filesystem::path& path) {
  const std::shared_ptr<TokenShard> shard(new TokenShard());
  RETURN_IF_ERROR(shard->Map(path));
  RETURN_IF_ERROR(shard->CheckContents(path));
  return std::shared_ptr<const TokenShard>(shard);
}

Status TokenShard::Map(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot stat {}", path.string()));
  if (info.st_size < static_cast<int64_t>(sizeof(ShardHeader)))
    return Damaged(path, "it has {} bytes, a header alone has {}", info.st_size,
                   sizeof(ShardHeader));
  void* mapped =
      ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoStatus(errno, fmt::format("cannot map {}", path.string()));
  base_ = static_cast<const uint8_t*>(mapped);
  file_bytes_ = info.st_size;

  ShardHeader header;
  std::memcpy(&header, base_, sizeof(header));
  RETURN_IF_ERROR(CheckHeader(path, header, static_cast<uint64_t>(file_bytes_)));
  const ShardLayout at = LayoutOf(header);
  items_ = static_cast<int64_t>(header.items);
  tokens_ = static_cast<int64_t>(header.tokens);
  vocab_size_ = static_cast<int64_t>(header.vocab_size);
  end_of_text_ = static_cast<int32_t>(header.end_of_text);
  wide_ = header.token_bytes == 4;
  token_data_ = base_ + at.tokens;
  item_end_ = reinterpret_cast<const uint64_t*>(base_ + at.item_end);
  item_bytes_ = reinterpret_cast<const uint64_t*>(base_ + at.item_bytes);
  token_size_ = reinterpret_cast<const uint32_t*>(base_ + at.token_size);
  tokenizer_sha256_ = Hex(header.tokenizer_sha256);
  content_sha256_ = Hex(header.content_sha256);
  return OkStatus();
}

Status TokenShard::CheckContents(const std::filesystem::path& path) const {
  const auto bytes = [&](uint64_t begin, uint64_t end) {
    return std::string_view(reinterpret_cast<const char*>(base_) + begin, end - begin);
  };
  Sha256Stream digest;
  digest.Add(bytes(sizeof(ShardHeader), static_cast<uint64_t>(file_bytes_)));
  digest.Add(bytes(0, kHashedHeaderBytes));
  if (const std::string found = digest.Finish(); found != content_sha256_)
    return Damaged(path, "its contents hash to {}, its header says {}", found, content_sha256_);
  // From here on only a faulty writer can be to blame; the loader relies on it all the same.
  uint64_t begin = 0;
  for (int64_t item = 0; item < items_; ++item) {
    const uint64_t end = item_end_[item];
    if (end <= begin || end > static_cast<uint64_t>(tokens_))
      return Damaged(path, "item {} spans the tokens {} to {}", item, begin, end);
    if (token(static_cast<int64_t>(end) - 1) != end_of_text_)
      return Damaged(path, "item {} does not end with the end-of-text token", item);
    begin = end;
  }
  if (begin != static_cast<uint64_t>(tokens_))
    return Damaged(path, "its items hold {} of {} tokens", begin, tokens_);
  for (int64_t i = 0; i < tokens_; ++i)
    if (const auto id = static_cast<uint32_t>(token(i)); id >= static_cast<uint64_t>(vocab_size_))
      return Damaged(path, "token {} is {}, past the vocabulary of {}", i, id, vocab_size_);
  return OkStatus();
}

int64_t TokenShard::item_end(int64_t item) const {
  REQUIRE(item >= 0 && item < items_);
  return static_cast<int64_t>(item_end_[item]);
}

int64_t TokenShard::item_bytes(int64_t item) const {
  REQUIRE(item >= 0 && item < items_);
  return static_cast<int64_t>(item_bytes_[item]);
}

int32_t TokenShard::token(int64_t position) const {
  int32_t id = 0;
  CopyTokens(position, 1, &id);
  return id;
}

void TokenShard::CopyTokens(int64_t begin, int64_t count, int32_t* out) const {
  REQUIRE(begin >= 0 && count >= 0 && begin <= tokens_ - count);
  if (wide_) {
    std::memcpy(out, token_data_ + 4 * begin, static_cast<size_t>(4 * count));
  } else {
    const auto* narrow = reinterpret_cast<const uint16_t*>(token_data_) + begin;
    std::copy(narrow, narrow + count, out);
  }
}

int64_t TokenShard::token_size(int32_t id) const {
  REQUIRE(id >= 0 && id < vocab_size_);
  return token_size_[id];
}

}  // namespace trainyard::worker
