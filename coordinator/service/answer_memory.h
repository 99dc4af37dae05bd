// Mutating calls may be repeated: the first answer to a request_id comes again.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <google/protobuf/message_lite.h>

#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "common/status.h"
#include "coordinator/service/auth.h"

namespace trainyard::coordinator {

// InvalidArgument for one that is too long to be kept.
Status CheckRequestId(const std::string& id);

// Of one method, caller and request_id. Empty: not to be remembered.
std::string MemoryKey(std::string_view method, const Principal& who, const std::string& request_id);

// The newest 10,000 answers of a service's calls with a request_id; creations are remembered
// durably by the coordinator, not here. Thread-safe.
class AnswerMemory {
 public:
  // False when there is none.
  bool Find(const std::string& key, google::protobuf::MessageLite* answer) const;
  // Does nothing with an empty key.
  void Remember(const std::string& key, const google::protobuf::MessageLite& answer);

 private:
  static constexpr size_t kMax = 10'000;
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> answers_ ABSL_GUARDED_BY(mu_);  // serialized
  std::deque<std::string> oldest_first_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::coordinator
