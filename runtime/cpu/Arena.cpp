#include "runtime/cpu/Arena.h"
#include "megacc/StepABI.h"
#include "runtime/core/Status.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace megacc::runtime {
namespace {

struct Mapping {
  void *begin;
  size_t bytes;
};

std::mutex mutex;
std::map<void *, Mapping> mappings; // by the first segment

} // namespace

int32_t reserveArena(const int64_t *sizes, void **segments) {
  const size_t page = sysconf(_SC_PAGESIZE);
  auto pages = [&](int64_t bytes) { return (size_t(bytes) + page - 1) / page * page; };
  size_t mapped = page;
  for (int index = 0; index < MG_SEGMENT_COUNT; ++index) {
    if (sizes[index] < 0 || sizes[index] % 256)
      return mg_fail("segment %d of the arena has %lld bytes, expected a multiple of 256; fix: compile the declaration again", index,
                     (long long)sizes[index]);
    mapped += pages(sizes[index]) + page;
  }
  auto fail = [&](const char *what) {
    return mg_fail("cannot reserve the arena of %zu bytes (%s): %s; fix: a smaller micro_batch or a smaller model", mapped, what,
                   std::strerror(errno));
  };
  void *memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return fail("mmap");
  std::byte *at = static_cast<std::byte *>(memory) + page;
  for (int index = 0; index < MG_SEGMENT_COUNT; ++index) {
    size_t bytes = pages(sizes[index]);
    if (bytes && mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) {
      int32_t status = fail("mprotect");
      munmap(memory, mapped);
      return status;
    }
    segments[index] = at + bytes - sizes[index];
    at += bytes + page;
  }
  std::lock_guard lock(mutex);
  mappings[segments[0]] = {memory, mapped};
  return 0;
}

void releaseArena(void **segments) {
  std::lock_guard lock(mutex);
  auto found = mappings.find(segments[0]);
  if (found == mappings.end())
    return;
  munmap(found->second.begin, found->second.bytes);
  mappings.erase(found);
}

} // namespace megacc::runtime
