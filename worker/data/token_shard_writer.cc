#include "worker/data/token_shard_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "common/require.h"
#include "worker/data/shard_format.h"

namespace trainyard::worker {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

template <class T>
std::string_view BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string ZerosUpTo8(uint64_t bytes) { return std::string(PaddedTo8(bytes) - bytes, '\0'); }

// `hex` has 64 hex characters.
void FillFromHex(std::string_view hex, uint8_t (&bytes)[32]) {
  REQUIRE(hex.size() == 64);
  for (size_t i = 0; i < 32; ++i) {
    const auto [end, error] =
        std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, bytes[i], 16);
    REQUIRE(error == std::errc() && end == hex.data() + 2 * i + 2);
  }
}

}  // namespace

StatusOr<std::unique_ptr<TokenShardWriter>> TokenShardWriter::Create(
    const std::filesystem::path& path, const ShardVocabulary& vocabulary) {
  const size_t entries = vocabulary.token_sizes.size();
  if (entries == 0 || entries > kVocabSizeMax || vocabulary.end_of_text < 0 ||
      static_cast<size_t>(vocabulary.end_of_text) >= entries)
    return InvalidArgument("token shard {}: a vocabulary of {} entries with end-of-text {}",
                           path.string(), entries, vocabulary.end_of_text);
  std::unique_ptr<TokenShardWriter> writer(new TokenShardWriter(path, vocabulary));
  writer->fd_ =
      UniqueFd(::open(writer->temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!writer->fd_.valid())
    return ErrnoStatus(errno, fmt::format("cannot create {}", writer->temporary_));
  // The header is written last, when the counts are known.
  RETURN_IF_ERROR(
      WriteAll(writer->fd_.get(), std::string(sizeof(ShardHeader), '\0'), writer->temporary_));
  return writer;
}

TokenShardWriter::TokenShardWriter(const std::filesystem::path& path,
                                   const ShardVocabulary& vocabulary)
    : path_(path),
      temporary_(path.string() + ".tmp-" + RandomHex(4)),
      vocabulary_(vocabulary),
      wide_(vocabulary.token_sizes.size() > size_t{1} << 16) {
  buffer_.reserve(kBufferBytes + 8);
}

TokenShardWriter::~TokenShardWriter() {
  if (fd_.valid()) ::unlink(temporary_.c_str());
}

Status TokenShardWriter::Append(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= vocabulary_.token_sizes.size())
      return InvalidArgument("token shard {}: the token {} is not in the vocabulary of {}",
                             path_.string(), id, vocabulary_.token_sizes.size());
    char bytes[4];
    const auto wide = static_cast<uint32_t>(id);
    const auto narrow = static_cast<uint16_t>(id);
    std::memcpy(bytes, wide_ ? static_cast<const void*>(&wide) : &narrow, wide_ ? 4 : 2);
    RETURN_IF_ERROR(Write({bytes, wide_ ? size_t{4} : size_t{2}}));
  }
  summary_.tokens += static_cast<int64_t>(ids.size());
  return OkStatus();
}

Status TokenShardWriter::EndItem(int64_t source_bytes) {
  REQUIRE(source_bytes >= 0);
  RETURN_IF_ERROR(Append({&vocabulary_.end_of_text, 1}));
  item_end_.push_back(static_cast<uint64_t>(summary_.tokens));
  item_bytes_.push_back(static_cast<uint64_t>(source_bytes));
  ++summary_.items;
  summary_.source_bytes += source_bytes;
  return OkStatus();
}

StatusOr<ShardSummary> TokenShardWriter::Finish() {
  REQUIRE(fd_.valid());
  REQUIRE(static_cast<uint64_t>(summary_.tokens) == (item_end_.empty() ? 0 : item_end_.back()));
  ShardHeader header{};
  std::memcpy(header.magic, kShardMagic, sizeof(kShardMagic));
  header.version = kShardVersion;
  header.token_bytes = wide_ ? 4 : 2;
  header.end_of_text = static_cast<uint32_t>(vocabulary_.end_of_text);
  header.items = static_cast<uint64_t>(summary_.items);
  header.tokens = static_cast<uint64_t>(summary_.tokens);
  header.vocab_size = vocabulary_.token_sizes.size();
  FillFromHex(vocabulary_.tokenizer_sha256, header.tokenizer_sha256);

  RETURN_IF_ERROR(Write(ZerosUpTo8(header.tokens * header.token_bytes)));
  RETURN_IF_ERROR(Write(BytesOf(item_end_)));
  RETURN_IF_ERROR(Write(BytesOf(item_bytes_)));
  RETURN_IF_ERROR(Write(BytesOf(vocabulary_.token_sizes)));
  RETURN_IF_ERROR(Write(ZerosUpTo8(4 * header.vocab_size)));
  RETURN_IF_ERROR(Flush());
  const std::string_view header_bytes(reinterpret_cast<const char*>(&header), sizeof(header));
  digest_.Add(header_bytes.substr(0, kHashedHeaderBytes));
  summary_.content_sha256 = digest_.Finish();
  FillFromHex(summary_.content_sha256, header.content_sha256);

  if (::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return ErrnoStatus(errno, fmt::format("cannot seek in {}", temporary_));
  RETURN_IF_ERROR(WriteAll(fd_.get(), header_bytes, temporary_));
  if (::fsync(fd_.get()) != 0) return ErrnoStatus(errno, fmt::format("cannot sync {}", temporary_));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return ErrnoStatus(errno, fmt::format("cannot rename {} to {}", temporary_, path_.string()));
  fd_.Close();
  RETURN_IF_ERROR(SyncPath(path_.has_parent_path() ? path_.parent_path() : "."));
  summary_.file_bytes = static_cast<int64_t>(LayoutOf(header).file_bytes);
  return summary_;
}

Status TokenShardWriter::Write(std::string_view bytes) {
  buffer_.append(bytes);
  return buffer_.size() < kBufferBytes ? OkStatus() : Flush();
}

Status TokenShardWriter::Flush() {
  digest_.Add(buffer_);
  const Status status = WriteAll(fd_.get(), buffer_, temporary_);
  buffer_.clear();
  return status;
}

}  // namespace trainyard::worker
