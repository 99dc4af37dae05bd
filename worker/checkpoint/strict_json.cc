#include "worker/checkpoint/strict_json.h"

#include <set>
#include <string>
#include <vector>

namespace trainyard::worker {
namespace {

using nlohmann::json;

// Sees every key and bracket before a document is built: bounds the depth, refuses duplicate keys.
class StructureCheck : public nlohmann::json_sax<json> {
 public:
  explicit StructureCheck(size_t depth_max) : depth_max_(depth_max) {}
  const std::string& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    return Fail(fmt::format("the key {:?} occurs twice", name));
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(fmt::format("not valid UTF-8 JSON at byte {}", position));
  }

 private:
  bool Enter() {
    keys_.emplace_back();
    return keys_.size() <= depth_max_ || Fail(fmt::format("nested deeper than {}", depth_max_));
  }
  bool Leave() {
    keys_.pop_back();
    return true;
  }
  bool Fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  const size_t depth_max_;
  std::vector<std::set<std::string>> keys_;  // of each open object
  std::string problem_;
};

}  // namespace

StatusOr<json> ParseStrictJson(std::string_view text, size_t depth_max) {
  // The parser takes a zero byte for the end of its input.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    return DataLoss("a zero byte at byte {}", zero);
  StructureCheck check(depth_max);
  if (!json::sax_parse(text, &check)) return DataLoss("{}", check.problem());
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace trainyard::worker
