// How two ranks prove to each other that they know the attempt's secret, as messages of fixed size:
//
//   dialer -> acceptor  hello      magic, the dialer's rank, number of ranks, 32 random bytes
//   acceptor -> dialer  challenge  32 random bytes
//   dialer -> acceptor  proof      HMAC-SHA-256 under the secret
//   acceptor -> dialer  welcome    HMAC-SHA-256, and a note to the dialer that it covers
//
// Each HMAC covers the sender's role, both ranks, their number and both random strings, so that
// none can be replayed or reflected. A stranger learns nothing: the acceptor proves itself last.
// Pure: bytes in, bytes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

class Handshake {
 public:
  // `note`: at most kNoteBytes, without zero bytes.
  static constexpr size_t kNoteBytes = 128;

  static Handshake Dial(std::string secret, int rank, int peer, int ranks);
  static Handshake Accept(std::string secret, int rank, int ranks, std::string note);

  // Bytes to send now; empty when there are none.
  std::string TakeOutput();
  // Size of the message that must come next; 0 when the handshake is done.
  size_t wanted() const;
  // Takes exactly wanted() bytes. Unauthenticated: the peer is not one of ours; InvalidArgument: it
  // is, but disagrees about the ranks. Either ends the handshake.
  Status Receive(std::string_view message);

  bool done() const { return state_ == State::kDone; }
  // The peer's rank: known to the dialer, and to the acceptor once done.
  int peer() const { return peer_; }
  // What the acceptor told the dialer.
  const std::string& note() const { return note_; }

 private:
  enum class State { kWantHello, kWantChallenge, kWantProof, kWantWelcome, kDone };

  std::string Mac(std::string_view role, std::string_view padded_note) const;
  Status ReceiveHello(std::string_view message);
  Status ReceiveWelcome(std::string_view message);

  State state_ = State::kDone;
  std::string secret_;
  bool dialer_ = false;
  int rank_ = 0;
  int peer_ = -1;
  int ranks_ = 0;
  uint32_t peer_ranks_ = 0;  // how many ranks the dialer says there are
  std::string dialer_nonce_;
  std::string acceptor_nonce_;
  std::string note_;
  std::string output_;
};

}  // namespace trainyard::worker
