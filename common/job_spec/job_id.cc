#include "common/job_spec/job_id.h"

#include <string>

#include "common/files.h"

namespace trainyard {

JobId MakeJobId(std::string_view name, uint64_t random_bits) {
  constexpr std::string_view kLetters = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string id(name);
  id += '-';
  for (int i = 0; i < 5; ++i) {
    id += kLetters[random_bits % kLetters.size()];
    random_bits /= kLetters.size();
  }
  return JobId{id};
}

JobId RandomJobId(std::string_view name) {
  return MakeJobId(name, std::stoull(RandomHex(8), nullptr, 16));
}

}  // namespace trainyard
