#include "coordinator/service/answer_memory.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kMaxRequestId = 64;

}  // namespace

Status CheckRequestId(const std::string& id) {
  if (id.size() <= kMaxRequestId) return OkStatus();
  return WithField(InvalidArgument("request_id has {} characters: at most {} are kept", id.size(),
                                   kMaxRequestId),
                   "request_id");
}

std::string MemoryKey(std::string_view method, const Principal& who,
                      const std::string& request_id) {
  if (request_id.empty()) return "";
  return fmt::format("{} {} {}", method, who.token_id, request_id);
}

bool AnswerMemory::Find(const std::string& key, google::protobuf::MessageLite* answer) const {
  absl::MutexLock lock(&mu_);
  const auto found = answers_.find(key);
  return found != answers_.end() && answer->ParseFromString(found->second);
}

void AnswerMemory::Remember(const std::string& key, const google::protobuf::MessageLite& answer) {
  if (key.empty()) return;
  absl::MutexLock lock(&mu_);
  if (!answers_.emplace(key, answer.SerializeAsString()).second) return;
  oldest_first_.push_back(key);
  if (oldest_first_.size() <= kMax) return;
  answers_.erase(oldest_first_.front());
  oldest_first_.pop_front();
}

}  // namespace trainyard::coordinator
