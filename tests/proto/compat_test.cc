// The protos may only grow: what an older client or server sends must keep its meaning. The
// committed listing is the baseline; after an addition, record it with
//   TRAINYARD_RECORD_BASELINE=1 build/tests/proto_test
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "common/files.h"
#include "google/rpc/error_details.pb.h"
#include "tests/support/places.h"
#include "trainyard/v1/blob_service.pb.h"
#include "trainyard/v1/checkpoint_service.pb.h"
#include "trainyard/v1/job.pb.h"
#include "trainyard/v1/job_service.pb.h"
#include "trainyard/v1/worker_service.pb.h"

namespace trainyard {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using Lines = std::set<std::string>;

std::string TypeOf(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return field.message_type()->full_name();
  if (field.enum_type() != nullptr) return field.enum_type()->full_name();
  return field.type_name();
}

std::string LabelOf(const FieldDescriptor& field) {
  if (field.is_repeated()) return "repeated";
  if (field.real_containing_oneof() != nullptr)
    return "oneof:" + field.real_containing_oneof()->name();
  return field.has_optional_keyword() ? "optional" : "singular";
}

void ListEnum(const EnumDescriptor& type, Lines* lines) {
  for (int i = 0; i < type.value_count(); ++i)
    lines->insert(fmt::format("enum {} {} {}", type.full_name(), type.value(i)->name(),
                              type.value(i)->number()));
}

void ListMessage(const Descriptor& type, Lines* lines) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    lines->insert(fmt::format("message {} {} {} {} {}", type.full_name(), field.name(),
                              field.number(), TypeOf(field), LabelOf(field)));
  }
  for (int i = 0; i < type.nested_type_count(); ++i) ListMessage(*type.nested_type(i), lines);
  for (int i = 0; i < type.enum_type_count(); ++i) ListEnum(*type.enum_type(i), lines);
}

void ListFile(const FileDescriptor& file, Lines* lines) {
  for (int i = 0; i < file.message_type_count(); ++i) ListMessage(*file.message_type(i), lines);
  for (int i = 0; i < file.enum_type_count(); ++i) ListEnum(*file.enum_type(i), lines);
  for (int i = 0; i < file.service_count(); ++i)
    for (int m = 0; m < file.service(i)->method_count(); ++m) {
      const MethodDescriptor& method = *file.service(i)->method(m);
      lines->insert(fmt::format(
          "rpc {} {}{} -> {}{}", method.full_name(), method.client_streaming() ? "stream " : "",
          method.input_type()->full_name(), method.server_streaming() ? "stream " : "",
          method.output_type()->full_name()));
    }
}

Lines Listing() {
  Lines lines;
  for (const FileDescriptor* file :
       {v1::Job::descriptor()->file(), v1::CreateJobRequest::descriptor()->file(),
        v1::WorkerReport::descriptor()->file(), v1::UploadRequest::descriptor()->file(),
        v1::ListCheckpointsRequest::descriptor()->file(),
        google::rpc::ErrorInfo::descriptor()->file()})
    ListFile(*file, &lines);
  return lines;
}

Lines LinesOf(const std::string& text) {
  Lines lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

Lines Without(const Lines& from, const Lines& taken) {
  Lines rest;
  std::set_difference(from.begin(), from.end(), taken.begin(), taken.end(),
                      std::inserter(rest, rest.end()));
  return rest;
}

TEST(ProtoCompatibility, NothingIsTakenAwayOrChanged) {
  const std::string path = SourceFolder() / "tests/proto/baseline.txt";
  const Lines now = Listing();
  ASSERT_GT(now.size(), 100u);
  const auto recorded = ReadFile(path);
  const Lines baseline = recorded.ok() ? LinesOf(*recorded) : Lines();
  EXPECT_THAT(Without(baseline, now), testing::IsEmpty())
      << "these were promised to older clients and must stay as they are";
  if (std::getenv("TRAINYARD_RECORD_BASELINE") != nullptr) {
    std::string text;
    for (const std::string& line : now) text += line + "\n";
    ASSERT_TRUE(WriteFileAtomically(path, text).ok());
    return;
  }
  EXPECT_THAT(Without(now, baseline), testing::IsEmpty())
      << "new: record them with TRAINYARD_RECORD_BASELINE=1";
}

}  // namespace
}  // namespace trainyard
