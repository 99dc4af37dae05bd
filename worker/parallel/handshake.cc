#include "worker/parallel/handshake.h"

#include <cstring>

#include "common/files.h"
#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr std::string_view kMagic = "TRYRANK2";
constexpr size_t kNonceBytes = 64;  // 32 random bytes in hex
constexpr size_t kMacBytes = 64;    // hex
constexpr size_t kHelloBytes = 8 + 4 + 4 + kNonceBytes;

std::string Number(uint32_t value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return bytes;
}
uint32_t NumberAt(std::string_view bytes, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, 4);
  return value;
}

}  // namespace

Handshake Handshake::Dial(std::string secret, int rank, int peer, int ranks) {
  Handshake self;
  self.state_ = State::kWantChallenge;
  self.secret_ = std::move(secret);
  self.dialer_ = true;
  self.rank_ = rank;
  self.peer_ = peer;
  self.ranks_ = ranks;
  self.peer_ranks_ = static_cast<uint32_t>(ranks);
  self.dialer_nonce_ = RandomHex(kNonceBytes / 2);
  self.output_ = std::string(kMagic) + Number(static_cast<uint32_t>(rank)) +
                 Number(static_cast<uint32_t>(ranks)) + self.dialer_nonce_;
  return self;
}

Handshake Handshake::Accept(std::string secret, int rank, int ranks, std::string note) {
  REQUIRE(note.size() <= kNoteBytes);
  Handshake self;
  self.state_ = State::kWantHello;
  self.secret_ = std::move(secret);
  self.rank_ = rank;
  self.ranks_ = ranks;
  self.acceptor_nonce_ = RandomHex(kNonceBytes / 2);
  self.note_ = std::move(note);
  return self;
}

std::string Handshake::TakeOutput() { return std::exchange(output_, {}); }

size_t Handshake::wanted() const {
  switch (state_) {
    case State::kWantHello:
      return kHelloBytes;
    case State::kWantChallenge:
      return kNonceBytes;
    case State::kWantProof:
      return kMacBytes;
    case State::kWantWelcome:
      return kMacBytes + kNoteBytes;
    case State::kDone:
      return 0;
  }
  return 0;
}

std::string Handshake::Mac(std::string_view role, std::string_view padded_note) const {
  const int dialer = dialer_ ? rank_ : peer_;
  const int acceptor = dialer_ ? peer_ : rank_;
  return HmacSha256(secret_, fmt::format("{} {} {} {} {} {} {}", role, dialer, acceptor,
                                         peer_ranks_, dialer_nonce_, acceptor_nonce_, padded_note));
}

Status Handshake::Receive(std::string_view message) {
  REQUIRE(message.size() == wanted());
  switch (state_) {
    case State::kWantHello:
      return ReceiveHello(message);
    case State::kWantChallenge:
      acceptor_nonce_ = message;
      output_ = Mac("dialer", "");
      state_ = State::kWantWelcome;
      return OkStatus();
    case State::kWantProof: {
      if (!ConstantTimeEquals(message, Mac("dialer", "")))
        return Unauthenticated("it did not prove the attempt's secret");
      if (peer_ranks_ != static_cast<uint32_t>(ranks_) || peer_ < 0 || peer_ >= ranks_ ||
          peer_ == rank_)
        return InvalidArgument(
            "a peer takes itself for rank {} of {}, this is rank {} of {}: the attempt's list of "
            "ranks must be the same for all",
            peer_, peer_ranks_, rank_, ranks_);
      std::string padded = note_;
      padded.resize(kNoteBytes, '\0');
      output_ = Mac("acceptor", padded) + padded;
      state_ = State::kDone;
      return OkStatus();
    }
    case State::kWantWelcome:
      return ReceiveWelcome(message);
    case State::kDone:
      break;
  }
  return Internal("bytes after the handshake");
}

Status Handshake::ReceiveHello(std::string_view message) {
  if (!message.starts_with(kMagic)) return Unauthenticated("it does not speak our protocol");
  peer_ = static_cast<int>(NumberAt(message, 8));
  peer_ranks_ = NumberAt(message, 12);
  dialer_nonce_ = message.substr(16);
  output_ = acceptor_nonce_;
  state_ = State::kWantProof;
  return OkStatus();
}

Status Handshake::ReceiveWelcome(std::string_view message) {
  const std::string_view padded = message.substr(kMacBytes);
  if (!ConstantTimeEquals(message.substr(0, kMacBytes), Mac("acceptor", padded)))
    return Unauthenticated("it did not prove the attempt's secret");
  note_ = padded.substr(0, padded.find('\0'));
  state_ = State::kDone;
  return OkStatus();
}

}  // namespace trainyard::worker
