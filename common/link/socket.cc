#include "common/link/socket.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace trainyard::link {
namespace {

// The address of a socket. A path that is too long for a sockaddr is reached through its folder's
// descriptor, which must stay open until the call that uses the address.
struct Address {
  sockaddr_un value = {};
  UniqueFd folder;
};

StatusOr<Address> AddressOf(const std::filesystem::path& path) {
  Address address;
  address.value.sun_family = AF_UNIX;
  std::string text = path.string();
  if (text.size() >= sizeof(address.value.sun_path)) {
    address.folder = UniqueFd(open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!address.folder.valid()) return ErrnoStatus(errno, path.parent_path().string());
    text = fmt::format("/proc/self/fd/{}/{}", address.folder.get(), path.filename().string());
  }
  if (text.size() >= sizeof(address.value.sun_path)) {
    return InvalidArgument("{}: the name of a socket has at most 80 bytes", path.string());
  }
  std::memcpy(address.value.sun_path, text.c_str(), text.size() + 1);
  return address;
}

StatusOr<UniqueFd> NewSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  return fd;
}

const sockaddr* AsSockaddr(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.value);
}

Status CheckFolder(const std::filesystem::path& folder) {
  struct stat info = {};
  if (stat(folder.c_str(), &info) != 0) return ErrnoStatus(errno, folder.string());
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return PermissionDenied(
        "{}: the folder of a trainer's socket must belong to its user and be closed to others "
        "(mode 0700)",
        folder.string());
  }
  return OkStatus();
}

}  // namespace

StatusOr<UniqueFd> ListenOn(const std::filesystem::path& path) {
  RETURN_IF_ERROR(CheckFolder(path.parent_path()));
  struct stat old = {};
  if (lstat(path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode)) unlink(path.c_str());
  ASSIGN_OR_RETURN(const Address address, AddressOf(path));
  ASSIGN_OR_RETURN(UniqueFd fd, NewSocket());
  if (bind(fd.get(), AsSockaddr(address), sizeof(address.value)) != 0) {
    return ErrnoStatus(errno, "bind " + path.string());
  }
  if (listen(fd.get(), 8) != 0) return ErrnoStatus(errno, "listen " + path.string());
  return fd;
}

StatusOr<UniqueFd> Dial(const std::filesystem::path& path) {
  StatusOr<Address> address = AddressOf(path);
  if (!address.ok()) return Unavailable("dial: {}", MessageOf(address.status()));
  ASSIGN_OR_RETURN(UniqueFd fd, NewSocket());
  if (connect(fd.get(), AsSockaddr(*address), sizeof(address->value)) != 0) {
    return Unavailable("dial {}: {}", path.string(), std::strerror(errno));
  }
  return fd;
}

Status CheckPeerUser(int fd) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return ErrnoStatus(errno, "SO_PEERCRED");
  }
  if (peer.uid == geteuid()) return OkStatus();
  return PermissionDenied("process {} of user {} may not speak here", peer.pid, peer.uid);
}

StatusOr<WakeFd> WakeFd::Create() {
  UniqueFd fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "eventfd");
  return WakeFd(std::move(fd));
}

void WakeFd::Wake() {
  const uint64_t one = 1;
  // It can only fail when the counter is full: the thread will wake anyway.
  if (write(fd_.get(), &one, sizeof(one)) < 0) return;
}

void WakeFd::Clear() {
  uint64_t count = 0;
  if (read(fd_.get(), &count, sizeof(count)) < 0) return;  // nothing to clear
}

Status FrameSocket::Read() {
  std::vector<char> chunk(64 << 10);
  for (int i = 0; i < 4; ++i) {
    const ssize_t n = recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (n == 0) return Unavailable("the other side has closed the connection");
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return OkStatus();
      return Unavailable("recv: {}", std::strerror(errno));
    }
    reader_.Append(std::string_view(chunk.data(), static_cast<size_t>(n)));
    if (static_cast<size_t>(n) < chunk.size()) return OkStatus();
  }
  return OkStatus();
}

Status FrameSocket::Write() {
  while (WantsWrite()) {
    const ssize_t n = send(fd_.get(), out_.data() + written_, out_.size() - written_, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return OkStatus();
      return Unavailable("send: {}", std::strerror(errno));
    }
    written_ += static_cast<size_t>(n);
    if (written_ >= kMaxQueuedBytes) {
      out_.erase(0, written_);
      written_ = 0;
    }
  }
  out_.clear();
  written_ = 0;
  return OkStatus();
}

}  // namespace trainyard::link
