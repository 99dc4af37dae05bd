// Numeric TCP addresses: "127.0.0.1:80", "[::1]:80". No name is ever looked up.
#pragma once

#include <sys/socket.h>

#include <string>

#include "common/status.h"

namespace trainyard::worker {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// A numeric IPv4 or IPv6 host and a port.
StatusOr<SocketAddress> MakeSocketAddress(const std::string& host, int port);
StatusOr<SocketAddress> ParseSocketAddress(const std::string& text);
// The inverse of ParseSocketAddress.
std::string FormatSocketAddress(const SocketAddress& address);

}  // namespace trainyard::worker
