#include "worker/parallel/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr uint64_t kMagic = 0x314745535952544Full;
constexpr size_t kPage = 4096;

size_t HeaderBytes() { return (sizeof(SegmentHeader) + kPage - 1) / kPage * kPage; }
size_t SegmentBytes(int ranks) {
  return HeaderBytes() + static_cast<size_t>(ranks) * kSlots * 2 * kAreaBytes;
}

StatusOr<void*> Map(int fd, size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (base == MAP_FAILED) return ErrnoStatus(errno, "cannot map the memory ranks share");
  return base;
}

void Initialise(void* base, int ranks) {
  auto* header = new (base) SegmentHeader();
  header->ranks = static_cast<uint32_t>(ranks);
  const std::string token = RandomHex(static_cast<int>(header->token.size() / 2));
  std::copy(token.begin(), token.end(), header->token.begin());
  header->magic = kMagic;
}

}  // namespace

std::shared_ptr<Segment> Segment::InMemory(int ranks) {
  REQUIRE(ranks >= 1 && ranks <= kMaxRanksPerHost);
  void* base = std::aligned_alloc(kPage, SegmentBytes(ranks));
  REQUIRE(base != nullptr);
  Initialise(base, ranks);
  return std::shared_ptr<Segment>(
      new Segment(UniqueFd(), base, SegmentBytes(ranks), /*mapped=*/false));
}

StatusOr<std::shared_ptr<Segment>> Segment::Create(int ranks) {
  REQUIRE(ranks >= 1 && ranks <= kMaxRanksPerHost);
  const size_t bytes = SegmentBytes(ranks);
  UniqueFd fd(::memfd_create("trainyard-ranks", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoStatus(errno, "cannot create the memory ranks share");
  // Reserved now: running out later would be a SIGBUS.
  if (const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); error != 0)
    return ErrnoStatus(error, fmt::format("cannot reserve {} bytes for ranks to share", bytes));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return ErrnoStatus(errno, "cannot seal the memory ranks share");
  ASSIGN_OR_RETURN(void* const base, Map(fd.get(), bytes));
  Initialise(base, ranks);
  return std::shared_ptr<Segment>(new Segment(std::move(fd), base, bytes, /*mapped=*/true));
}

StatusOr<std::shared_ptr<Segment>> Segment::Open(const std::string& location, int ranks) {
  std::istringstream words(location);
  int64_t pid = 0, number = 0;
  std::string token;
  if (!(words >> pid >> number >> token) || pid <= 0 || number < 0)
    return InvalidArgument("{:?} is not where ranks share memory", location);
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, number);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid())
    return ErrnoStatus(errno, fmt::format("cannot open {}, the memory of the first rank (ranks of "
                                          "one host must run as one user and share /proc)",
                                          path));
  struct stat info;
  const size_t bytes = SegmentBytes(ranks);
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
  if (::fstat(fd.get(), &info) != 0 || info.st_size != static_cast<off_t>(bytes) ||
      (::fcntl(fd.get(), F_GET_SEALS) & kSeals) != kSeals)
    return InvalidArgument("{} is not the memory of {} ranks", path, ranks);
  ASSIGN_OR_RETURN(void* const base, Map(fd.get(), bytes));
  std::shared_ptr<Segment> segment(new Segment(std::move(fd), base, bytes, /*mapped=*/true));
  const SegmentHeader& header = segment->header();
  if (header.magic != kMagic || header.ranks != static_cast<uint32_t>(ranks) ||
      token != std::string_view(header.token.data(), header.token.size()))
    return InvalidArgument("{} is not the memory of this attempt's {} ranks", path, ranks);
  return segment;
}

Segment::~Segment() {
  if (mapped_) {
    ::munmap(header_, bytes_);
  } else {
    std::free(header_);
  }
}

std::string Segment::location() const {
  return fmt::format("{} {} {}", ::getpid(), fd_.get(),
                     std::string_view(header_->token.data(), header_->token.size()));
}

std::byte* Segment::Area(int rank, uint32_t chunk, int which) {
  const size_t area =
      (static_cast<size_t>(rank) * kSlots + chunk % kSlots) * 2 + static_cast<size_t>(which);
  return reinterpret_cast<std::byte*>(header_) + HeaderBytes() +
         area * static_cast<size_t>(kAreaBytes);
}

}  // namespace trainyard::worker
