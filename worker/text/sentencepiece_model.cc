#include "worker/text/sentencepiece_model.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "common/files.h"

namespace trainyard::worker {
namespace {

constexpr char kFile[] = "tokenizer.model";

// One field of a message: its number and, by its wire type, a number or bytes.
struct Field {
  enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint32_t number = 0;
  Wire wire = Wire::kVarint;
  uint64_t value = 0;
  std::string_view bytes = {};
  size_t at = 0;  // of the field in the file
};

// Walks over the fields of a message (https://protobuf.dev/programming-guides/encoding).
class FieldReader {
 public:
  // `at`: where `message` begins in the file, for errors.
  FieldReader(std::string_view message, size_t at) : message_(message), at_(at) {}

  bool done() const { return place_ == message_.size(); }
  size_t BeginOf(const Field& field) const {
    return at_ + static_cast<size_t>(field.bytes.data() - message_.data());
  }

  StatusOr<Field> Next() {
    Field field{.at = at_ + place_};
    ASSIGN_OR_RETURN(const uint64_t tag, Varint());
    if (tag >> 3 == 0 || tag >> 3 > std::numeric_limits<uint32_t>::max())
      return InvalidArgument("{}: byte {} begins no field of a SentencePiece model", kFile,
                             field.at);
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire = static_cast<Field::Wire>(tag & 7);
    switch (field.wire) {
      case Field::Wire::kVarint: {
        ASSIGN_OR_RETURN(field.value, Varint());
        return field;
      }
      case Field::Wire::kFixed64: {
        ASSIGN_OR_RETURN(field.bytes, Take(8));
        return field;
      }
      case Field::Wire::kFixed32: {
        ASSIGN_OR_RETURN(field.bytes, Take(4));
        return field;
      }
      case Field::Wire::kBytes: {
        ASSIGN_OR_RETURN(const uint64_t size, Varint());
        ASSIGN_OR_RETURN(field.bytes, Take(size));
        return field;
      }
    }
    return InvalidArgument("{}: the field at byte {} has the wire type {}", kFile, field.at,
                           tag & 7);
  }

 private:
  StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
      const auto bits = static_cast<uint8_t>(byte[0]);
      value |= static_cast<uint64_t>(bits & 0x7F) << shift;
      if (bits < 0x80) return value;
    }
    return InvalidArgument("{}: the number before byte {} has more than 64 bits", kFile,
                           at_ + place_);
  }

  StatusOr<std::string_view> Take(uint64_t size) {
    if (size > message_.size() - place_)
      return InvalidArgument("{}: at byte {} {} bytes are wanted, {} are left: the file is cut",
                             kFile, at_ + place_, size, message_.size() - place_);
    const std::string_view taken = message_.substr(place_, size);
    place_ += size;
    return taken;
  }

  const std::string_view message_;
  const size_t at_;
  size_t place_ = 0;
};

Status WantWire(const Field& field, Field::Wire wire, const char* what) {
  if (field.wire == wire) return OkStatus();
  return InvalidArgument("{}: the field at byte {}, {}, has the wire type {}, not {}", kFile,
                         field.at, what, static_cast<int>(field.wire), static_cast<int>(wire));
}

// Where the numbers of a message go.
struct NumberPlace {
  uint32_t number;
  const char* name;
  int64_t* place;
};

template <size_t n>
Status ReadNumbers(std::string_view message, size_t at, const NumberPlace (&places)[n],
                   std::string_view* bytes_of_2 = nullptr) {
  FieldReader reader(message, at);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (bytes_of_2 != nullptr && field.number == 2) {
      RETURN_IF_ERROR(WantWire(field, Field::Wire::kBytes, "precompiled_charsmap"));
      *bytes_of_2 = field.bytes;
    }
    for (const NumberPlace& one : places) {
      if (one.number != field.number) continue;
      RETURN_IF_ERROR(WantWire(field, Field::Wire::kVarint, one.name));
      *one.place = static_cast<int64_t>(field.value);
    }
  }
  return OkStatus();
}

// What the trainer was told; -1: that token is not there.
struct TrainerSpec {
  int64_t model_type = 1, suffix = 0, byte_fallback = 0;
  int64_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;
};

Status ReadTrainer(std::string_view message, size_t at, TrainerSpec& spec) {
  return ReadNumbers(message, at,
                     {{3, "model_type", &spec.model_type},
                      {24, "treat_whitespace_as_suffix", &spec.suffix},
                      {35, "byte_fallback", &spec.byte_fallback},
                      {40, "unk_id", &spec.unk_id},
                      {41, "bos_id", &spec.bos_id},
                      {42, "eos_id", &spec.eos_id},
                      {43, "pad_id", &spec.pad_id}});
}

Status ReadNormalizer(std::string_view message, size_t at, SentencePieceModel& model) {
  int64_t prefix = model.add_dummy_prefix, extra = model.remove_extra_whitespaces,
          escape = model.escape_whitespaces;
  std::string_view charsmap = model.charsmap;
  RETURN_IF_ERROR(ReadNumbers(message, at,
                              {{3, "add_dummy_prefix", &prefix},
                               {4, "remove_extra_whitespaces", &extra},
                               {5, "escape_whitespaces", &escape}},
                              &charsmap));
  model.charsmap = std::string(charsmap);
  model.add_dummy_prefix = prefix != 0;
  model.remove_extra_whitespaces = extra != 0;
  model.escape_whitespaces = escape != 0;
  if (model.charsmap.empty()) return OkStatus();
  return Annotate(CheckCharsmap(model.charsmap), kFile);
}

StatusOr<SentencePiece> ReadPiece(std::string_view message, size_t at, size_t id) {
  SentencePiece piece;
  FieldReader reader(message, at);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number == 1) {
      RETURN_IF_ERROR(WantWire(field, Field::Wire::kBytes, "a piece's text"));
      piece.text = std::string(field.bytes);
    } else if (field.number == 2) {
      RETURN_IF_ERROR(WantWire(field, Field::Wire::kFixed32, "a piece's score"));
      std::memcpy(&piece.score, field.bytes.data(), sizeof(piece.score));
    } else if (field.number == 3) {
      RETURN_IF_ERROR(WantWire(field, Field::Wire::kVarint, "a piece's type"));
      if (field.value < 1 || field.value > 6)
        return InvalidArgument("{}: piece {} has the type {}, types are 1 to 6", kFile, id,
                               field.value);
      piece.type = static_cast<SentencePiece::Type>(field.value);
    }
  }
  if (piece.text.empty() || piece.text.size() > kSentencePieceBytesMax)
    return InvalidArgument("{}: piece {} has {} bytes; 1 to {} are possible", kFile, id,
                           piece.text.size(), kSentencePieceBytesMax);
  if (const size_t bad = FindInvalidUtf8(piece.text); bad != std::string::npos)
    return InvalidArgument("{}: piece {} is not UTF-8 at its byte {}", kFile, id, bad);
  if (!std::isfinite(piece.score))
    return InvalidArgument("{}: the score of piece {}, \"{}\", is not finite", kFile, id,
                           piece.text);
  return piece;
}

Status CheckPieces(const SentencePieceModel& model) {
  std::unordered_set<std::string_view> seen;
  int64_t unknown = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (!seen.insert(model.pieces[id].text).second)
      return InvalidArgument("{}: piece {} is \"{}\", as one before it is", kFile, id,
                             model.pieces[id].text);
    unknown += model.pieces[id].type == SentencePiece::Type::kUnknown ? 1 : 0;
  }
  if (unknown != 1)
    return InvalidArgument("{}: {} pieces stand for what is unknown; one does", kFile, unknown);
  return OkStatus();
}

Status TakeTrainer(const TrainerSpec& spec, SentencePieceModel& model) {
  if (spec.model_type != 1 && spec.model_type != 2)
    return Unimplemented("{}: a model of type {}; 1 (Unigram) and 2 (BPE) are read{}", kFile,
                         spec.model_type,
                         spec.model_type == 3   ? ", 3 is one of words"
                         : spec.model_type == 4 ? ", 4 is one of characters"
                                                : "");
  model.kind = static_cast<SentencePieceModel::Kind>(spec.model_type);
  model.byte_fallback = spec.byte_fallback != 0;
  model.whitespace_is_suffix = spec.suffix != 0;
  const auto piece = [&](int64_t id) {
    return id >= 0 && id < std::ssize(model.pieces) ? std::optional(id) : std::nullopt;
  };
  model.bos_id = piece(spec.bos_id);
  model.eos_id = piece(spec.eos_id);
  model.pad_id = piece(spec.pad_id);
  for (int64_t id = 0; id < std::ssize(model.pieces); ++id)
    if (model.pieces[static_cast<size_t>(id)].type == SentencePiece::Type::kUnknown)
      model.unk_id = id;
  return OkStatus();
}

// A line of tiktoken's files: a token in base64, a space, its rank.
bool IsTiktoken(std::string_view file) {
  const std::string_view line = file.substr(0, file.substr(0, 1024).find('\n'));
  const size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
         line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos &&
         line.substr(0, space).find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
             std::string_view::npos;
}

}  // namespace

StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view file) {
  if (IsTiktoken(file))
    return Unimplemented(
        "{}: this is a vocabulary of tiktoken, which does not say how text is cut; save the "
        "tokenizer with transformers (save_pretrained), which writes a tokenizer.json",
        kFile);
  SentencePieceModel model;
  TrainerSpec trainer;
  FieldReader reader(file, 0);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    if (field.number < 1 || field.number > 3) continue;
    RETURN_IF_ERROR(WantWire(field, Field::Wire::kBytes, "pieces, trainer_spec, normalizer_spec"));
    const size_t at = reader.BeginOf(field);
    if (field.number == 1) {
      if (model.pieces.size() == kSentencePiecesMax)
        return InvalidArgument("{}: more than {} pieces", kFile, kSentencePiecesMax);
      ASSIGN_OR_RETURN(SentencePiece piece, ReadPiece(field.bytes, at, model.pieces.size()));
      model.pieces.push_back(std::move(piece));
    } else if (field.number == 2) {
      RETURN_IF_ERROR(ReadTrainer(field.bytes, at, trainer));
    } else {
      RETURN_IF_ERROR(ReadNormalizer(field.bytes, at, model));
    }
  }
  RETURN_IF_ERROR(CheckPieces(model));
  RETURN_IF_ERROR(TakeTrainer(trainer, model));
  return model;
}

}  // namespace trainyard::worker
