#include "common/job_spec/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <map>
#include <sstream>

#include "common/files.h"
#include "common/job_spec/input.h"

namespace trainyard {
namespace {

using Kind = InputNode::Kind;

// Thrown by TreeBuilder and caught in BuildTree: the only way to stop yaml-cpp.
struct Refused {
  Position at;
  std::string why;
};

Position At(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

bool IsNumber(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

// Builds an InputNode from yaml-cpp's events. Aliases share the node they name, so memory stays
// bounded by the text; `size` counts them written out, so what walks the tree is bounded too.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(bool is_json) : is_json_(is_json) {}
  std::shared_ptr<const InputNode> root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Start(Kind::kNothing, mark), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refused{At(mark), "an alias that holds itself"};
    Place(found->second, At(mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = Start(Kind::kScalar, mark);
    node->scalar = value;
    node->quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    // proto's JSON writes 64-bit integers, and the values of model.config, as texts.
    const bool plain = IsNumber(value) || value == "true" || value == "false";
    if (is_json_ && node->quoted && plain) node->quoted = false;
    if (!node->quoted && (value == "null" || value == "~")) node->kind = Kind::kNothing;
    Add(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Start(Kind::kList, mark), anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Start(Kind::kMap, mark), anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Level {
    std::shared_ptr<InputNode> node;
    YAML::anchor_t anchor;
    bool has_key = false;  // of a map: the next node is a value
    std::string key;
    Position key_at;
  };

  static std::shared_ptr<InputNode> Start(Kind kind, const YAML::Mark& mark) {
    auto node = std::make_shared<InputNode>();
    node->kind = kind;
    node->at = At(mark);
    return node;
  }

  void Open(std::shared_ptr<InputNode> node, YAML::anchor_t anchor) {
    if (levels_.size() >= kMaxInputDepth) {
      throw Refused{node->at, fmt::format("nested deeper than {} levels", kMaxInputDepth)};
    }
    levels_.push_back({.node = std::move(node), .anchor = anchor, .key = "", .key_at = {}});
  }

  void Close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    Add(std::move(level.node), level.anchor);
  }

  void Add(std::shared_ptr<InputNode> node, YAML::anchor_t anchor) {
    const Position at = node->at;
    std::shared_ptr<const InputNode> done = std::move(node);
    if (anchor != YAML::NullAnchor) anchors_[anchor] = done;
    Place(std::move(done), at);
  }

  void Place(std::shared_ptr<const InputNode> node, Position at) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    level.node->size += node->size;
    if (level.node->size > kMaxInputNodes) {
      throw Refused{at, fmt::format("more than {} values, aliases counted as if written out",
                                    kMaxInputNodes)};
    }
    if (level.node->kind == Kind::kList) {
      level.node->items.push_back(std::move(node));
    } else if (level.has_key) {
      level.node->entries.push_back({level.key, level.key_at, std::move(node)});
      level.has_key = false;
    } else {
      if (node->kind != Kind::kScalar) throw Refused{at, "a key must be a single value"};
      level.key = node->scalar;
      level.key_at = at;
      level.has_key = true;
    }
  }

  const bool is_json_;
  std::vector<Level> levels_;
  std::map<YAML::anchor_t, std::shared_ptr<const InputNode>> anchors_;
  std::shared_ptr<const InputNode> root_;
};

Status RefusedAt(std::string_view file_name, Position at, std::string_view why) {
  return InvalidArgument("{}:{}:{}: {}", file_name, at.line, at.column, why);
}

Position PositionOfByte(std::string_view text, size_t offset) {
  Position at{1, 1};
  for (size_t i = 0; i < offset; ++i) {
    at.column = text[i] == '\n' ? 1 : at.column + 1;
    at.line += text[i] == '\n' ? 1 : 0;
  }
  return at;
}

// yaml-cpp reports by exceptions; they stop here.
StatusOr<std::shared_ptr<const InputNode>> BuildTree(std::string_view text,
                                                     std::string_view file_name) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && text[first] == '{';
  TreeBuilder builder(is_json);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder) || builder.root() == nullptr) {
      return RefusedAt(file_name, {1, 1}, "the file is empty");
    }
    TreeBuilder second(is_json);
    if (parser.HandleNextDocument(second)) {
      const Position at = second.root() ? second.root()->at : Position{1, 1};
      return RefusedAt(file_name, at, "a job file holds one document, here a second one starts");
    }
  } catch (const Refused& refused) {
    return RefusedAt(file_name, refused.at, refused.why);
  } catch (const YAML::Exception& error) {
    const Position at = error.mark.is_null() ? Position{1, 1} : At(error.mark);
    return RefusedAt(file_name, at, "not YAML: " + error.msg);
  } catch (const std::exception& error) {
    return RefusedAt(file_name, {1, 1}, std::string("not YAML: ") + error.what());
  }
  return builder.root();
}

// The spec within a job as `trainyard describe` shows it; null when `root` is none.
const InputNode* SpecOfShownJob(const InputNode& root) {
  const InputNode* spec = nullptr;
  bool shown = false;
  for (const InputNode::Entry& entry : root.entries) {
    if (entry.key == "spec" && entry.value->kind == Kind::kMap) spec = entry.value.get();
    shown |= entry.key == "display_name" || entry.key == "job_id" || entry.key == "origins";
  }
  return shown ? spec : nullptr;
}

}  // namespace

StatusOr<ParsedJob> ParseJobYaml(std::string_view text, std::string_view file_name) {
  if (text.size() > kMaxInputBytes) {
    return RefusedAt(
        file_name, {1, 1},
        fmt::format("{} bytes long; a job file has at most {}", text.size(), kMaxInputBytes));
  }
  if (const size_t bad = FindInvalidUtf8(text); bad != std::string_view::npos) {
    return RefusedAt(file_name, PositionOfByte(text, bad),
                     fmt::format("not valid UTF-8 at byte {}", bad));
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return RefusedAt(file_name, PositionOfByte(text, nul), "a NUL byte");
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const InputNode> root, BuildTree(text, file_name));
  if (const InputNode* spec = SpecOfShownJob(*root))
    return ReadJob(*spec, {.file_name = std::string(file_name), .interchange = true});
  return ReadJob(*root, {.file_name = std::string(file_name)});
}

}  // namespace trainyard
