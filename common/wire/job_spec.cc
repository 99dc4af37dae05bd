#include "common/wire/job_spec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "common/files.h"
#include "common/job_spec/json.h"

namespace trainyard {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

// By reflection, not by protobuf's own JSON, which takes ten times as long: a submit of 37 files
// spent a quarter of its time there. The spec's fields are texts, numbers, flags, messages, lists
// of messages and maps of texts; names are those of the proto.

Status ReadMessage(const Message& message, Json* json);

StatusOr<Json> ReadValue(const Message& message, const FieldDescriptor& field) {
  const Reflection& r = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return Json(r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Json(r.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return Json(r.GetBool(message, &field));
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text = r.GetString(message, &field);
      if (FindInvalidUtf8(text) != std::string::npos)
        return InvalidArgument("{} holds text that is not UTF-8", field.full_name());
      return Json(std::move(text));
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Json json = Json::object();
      RETURN_IF_ERROR(ReadMessage(r.GetMessage(message, &field), &json));
      return json;
    }
    default:
      return Internal("no JSON form for the type of {}", field.full_name());
  }
}

StatusOr<Json> ReadRepeated(const Message& message, const FieldDescriptor& field) {
  const Reflection& r = *message.GetReflection();
  Json json = field.is_map() ? Json::object() : Json::array();
  for (int i = 0; i < r.FieldSize(message, &field); ++i) {
    Json item = Json::object();
    RETURN_IF_ERROR(ReadMessage(r.GetRepeatedMessage(message, &field, i), &item));
    if (field.is_map())
      json[item.value("key", "")] = item.value("value", "");
    else
      json.push_back(std::move(item));
  }
  return json;
}

Status ReadMessage(const Message& message, Json* json) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      ASSIGN_OR_RETURN((*json)[field->name()], ReadRepeated(message, *field));
    } else {
      ASSIGN_OR_RETURN((*json)[field->name()], ReadValue(message, *field));
    }
  }
  return OkStatus();
}

// The other way round. Our own JSON comes in: what does not fit is a mistake of this program.
Status WriteMessage(const Json& json, Message* message);

Status WriteValue(const Json& json, const FieldDescriptor& field, Message* message) {
  const Reflection& r = *message->GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT64 && json.is_number_integer()) {
    r.SetInt64(message, &field, json.get<int64_t>());
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE && json.is_number()) {
    r.SetDouble(message, &field, json.get<double>());
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL && json.is_boolean()) {
    r.SetBool(message, &field, json.get<bool>());
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING && json.is_string()) {
    r.SetString(message, &field, json.get<std::string>());
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && json.is_object()) {
    return WriteMessage(json, r.MutableMessage(message, &field));
  } else {
    return Internal("{} cannot be {}", field.full_name(), json.dump());
  }
  return OkStatus();
}

Status WriteRepeated(const Json& json, const FieldDescriptor& field, Message* message) {
  const Reflection& r = *message->GetReflection();
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || json.is_object() != field.is_map())
    return Internal("{} cannot be {}", field.full_name(), json.dump());
  for (const auto& [key, value] : json.items()) {
    Message* item = r.AddMessage(message, &field);
    RETURN_IF_ERROR(
        WriteMessage(field.is_map() ? Json{{"key", key}, {"value", value}} : value, item));
  }
  return OkStatus();
}

Status WriteMessage(const Json& json, Message* message) {
  for (const auto& [name, value] : json.items()) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr)
      return Internal("{} has no field {}: add it to proto/trainyard/v1/job.proto",
                      message->GetDescriptor()->full_name(), name);
    RETURN_IF_ERROR(field->is_repeated() ? WriteRepeated(value, *field, message)
                                         : WriteValue(value, *field, message));
  }
  return OkStatus();
}

StatusOr<v1::JobSpec> FromJson(const Json& json) {
  v1::JobSpec proto;
  RETURN_IF_ERROR(WriteMessage(json, &proto));
  return proto;
}

}  // namespace

StatusOr<v1::JobSpec> ToProto(const JobSpec& spec) { return FromJson(JobSpecToJson(spec)); }

StatusOr<v1::JobSpec> GivenToProto(const ParsedJob& job) { return FromJson(GivenToJson(job)); }

StatusOr<ParsedJob> FromProto(const v1::JobSpec& proto) {
  Json json = Json::object();
  RETURN_IF_ERROR(ReadMessage(proto, &json));
  return ParseJobJson(json);
}

}  // namespace trainyard
