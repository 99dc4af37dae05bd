#include "common/files.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/file_pieces.h"
#include "common/replace_file.h"
#include "common/require.h"

namespace trainyard {
namespace {

std::string ToHex(const unsigned char* bytes, size_t n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * n);
  for (size_t i = 0; i < n; ++i) {
    hex.push_back(kDigits[bytes[i] >> 4]);
    hex.push_back(kDigits[bytes[i] & 15]);
  }
  return hex;
}

}  // namespace

void UniqueFd::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

StatusOr<std::string> ReadFile(const std::filesystem::path& path, int64_t max_bytes) {
  std::string bytes;
  RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view piece) -> Status {
    if (static_cast<int64_t>(bytes.size() + piece.size()) > max_bytes)
      return InvalidArgument("{} is larger than the {} bytes allowed here", path.string(),
                             max_bytes);
    bytes.append(piece);
    return OkStatus();
  }));
  return bytes;
}

Status WriteAll(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, fmt::format("cannot write {}", what));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status SyncPath(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  if (::fsync(fd.get()) != 0)
    return ErrnoStatus(errno, fmt::format("cannot sync {}", path.string()));
  return OkStatus();
}

Status MakeFolders(const std::filesystem::path& path) {
  if (path.empty() || std::filesystem::is_directory(path)) return OkStatus();
  RETURN_IF_ERROR(MakeFolders(path.parent_path()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, fmt::format("cannot make folder {}", path.string()));
  return OkStatus();
}

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes) {
  const std::string temporary = path.string() + ".tmp-" + RandomHex(4);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot create {}", temporary));
  return ReplaceFile(path, bytes, temporary, std::move(fd));
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  REQUIRE(context_ != nullptr);
  REQUIRE(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) == 1);
}

Sha256Stream::~Sha256Stream() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256Stream::Add(std::string_view bytes) {
  REQUIRE(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

std::string Sha256Stream::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  REQUIRE(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &size) == 1);
  return ToHex(digest.data(), size);
}

std::string Sha256(std::string_view bytes) {
  Sha256Stream stream;
  stream.Add(bytes);
  return stream.Finish();
}

StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path) {
  Sha256Stream stream;
  RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view piece) {
    stream.Add(piece);
    return OkStatus();
  }));
  return stream.Finish();
}

std::string HmacSha256(std::string_view key, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  REQUIRE(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
               reinterpret_cast<const unsigned char*>(message.data()), message.size(),
               digest.data(), &size) != nullptr);
  return ToHex(digest.data(), size);
}

bool ConstantTimeEquals(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string RandomHex(int n_bytes) {
  std::vector<unsigned char> bytes(static_cast<size_t>(n_bytes));
  REQUIRE(RAND_bytes(bytes.data(), n_bytes) == 1);
  return ToHex(bytes.data(), bytes.size());
}

size_t FindInvalidUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t i = 0;
  while (i < text.size()) {
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                          : lead >= 0xE0 && lead <= 0xEF ? 3
                          : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                         : 0;
    if (length == 0 || i + length > text.size()) return i;
    // The second byte's range shuts out overlong forms, surrogates and values past U+10FFFF.
    const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i + 1) < low || byte(i + 1) > high) return i;
    for (size_t k = 2; k < length; ++k)
      if (byte(i + k) < 0x80 || byte(i + k) > 0xBF) return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace trainyard
