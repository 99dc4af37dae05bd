#include "cli/output.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace trainyard::cli {
namespace {

// Columns a UTF-8 string takes: escape sequences take none, every character one (ours are narrow).
size_t DisplayWidth(const std::string& text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
      continue;
    }
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) ++width;
  }
  return width;
}

std::string Styled(const char* code, const std::string& text) {
  static const bool plain = !StdoutIsTerminal() || std::getenv("NO_COLOR") != nullptr;
  return plain ? text : fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace

StatusOr<Format> ParseFormat(const std::string& name) {
  if (name == "table") return Format::kTable;
  if (name == "wide") return Format::kWide;
  if (name == "json") return Format::kJson;
  if (name == "yaml") return Format::kYaml;
  if (name == "name") return Format::kName;
  return InvalidArgument("--output {} is not known; choose table, wide, json, yaml or name", name);
}

std::string Table::ToString() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], DisplayWidth(row[c]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      line += row[c];
      if (c + 1 < row.size()) line.append(widths[c] - DisplayWidth(row[c]) + 2, ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
  }
  return text;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : "{}\n";
}

namespace {

// JSON is YAML: parse it as such and print it in block style.
std::string YamlOf(const std::string& json) {
  const std::function<void(YAML::Node)> use_blocks = [&](YAML::Node node) {
    if (node.IsMap() || node.IsSequence()) node.SetStyle(YAML::EmitterStyle::Block);
    if (node.IsMap())
      for (auto entry : node) use_blocks(entry.second);
    if (node.IsSequence())
      for (auto item : node) use_blocks(item);
  };
  YAML::Node node = YAML::Load(json);
  use_blocks(node);
  YAML::Emitter out;
  out << node;
  return std::string(out.c_str()) + "\n";
}

void PrintText(Format format, const std::function<std::string()>& json,
               const std::function<std::string()>& table,
               const std::function<std::string()>& name) {
  std::string text;
  switch (format) {
    case Format::kJson:
      text = json();
      break;
    case Format::kYaml:
      text = YamlOf(json());
      break;
    case Format::kName:
      text = name();
      break;
    case Format::kTable:
    case Format::kWide:
      text = table();
      break;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

std::string ToYaml(const google::protobuf::Message& message) { return YamlOf(ToJson(message)); }

void Print(Format format, const google::protobuf::Message& message,
           const std::function<std::string()>& table, const std::function<std::string()>& name) {
  PrintText(
      format, [&] { return ToJson(message); }, table, name);
}

void PrintJson(Format format, const nlohmann::ordered_json& json,
               const std::function<std::string()>& table,
               const std::function<std::string()>& name) {
  PrintText(
      format, [&] { return json.dump(2) + "\n"; }, table, name);
}

bool StdoutIsTerminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool StderrIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

std::string Bold(const std::string& text) { return Styled("1", text); }
std::string Dim(const std::string& text) { return Styled("2", text); }

std::string ColourState(const std::string& state) {
  if (state == "SUCCEEDED" || state == "RUNNING" || state == "CONNECTED")
    return Styled("32", state);
  if (state == "FAILED" || state == "UNREACHABLE") return Styled("31", state);
  if (state == "CANCELLED" || state == "PAUSED") return Styled("2", state);
  return Styled("33", state);
}

std::string PhaseOf(const v1::Rank& rank) {
  if (rank.phase().empty()) return "-";
  return rank.doing().empty() ? rank.phase() : rank.phase() + ": " + rank.doing();
}

std::string FormatSeconds(double seconds) {
  if (seconds < 0 || !std::isfinite(seconds)) return "-";
  const auto s = static_cast<int64_t>(seconds);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d {:02}h", s / 86400, s / 3600 % 24);
}

std::string FormatBytes(double bytes) {
  static constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string FormatCount(double count) {
  const std::string digits = fmt::format("{:.0f}", std::abs(count));
  std::string grouped = count < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped.push_back(',');
    grouped.push_back(digits[i]);
  }
  return grouped;
}

std::string Sparkline(const std::vector<double>& values, int width) {
  static constexpr std::array kLevels = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty() || width <= 0) return "";
  // Each column is the mean of its share of the values.
  const int columns = std::min<int>(width, static_cast<int>(values.size()));
  std::vector<double> means;
  for (int c = 0; c < columns; ++c) {
    const size_t from = values.size() * static_cast<size_t>(c) / static_cast<size_t>(columns);
    const size_t to = values.size() * static_cast<size_t>(c + 1) / static_cast<size_t>(columns);
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += values[i];
    means.push_back(sum / static_cast<double>(to - from));
  }
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  std::string line;
  for (const double mean : means) {
    const double share = *high > *low ? (mean - *low) / (*high - *low) : 0.5;
    line += kLevels[static_cast<size_t>(std::clamp(share * 7.999, 0.0, 7.0))];
  }
  return line;
}

double SecondsSinceEpoch(const google::protobuf::Timestamp& time) {
  return static_cast<double>(time.seconds()) + 1e-9 * time.nanos();
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace trainyard::cli
