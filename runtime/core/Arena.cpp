#include "runtime/core/Arena.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace megacc::runtime {

Arena::Arena(const int64_t (&planned)[MG_SEGMENT_COUNT]) {
  const size_t page = sysconf(_SC_PAGESIZE);
  auto pages = [&](int64_t bytes) { return (size_t(bytes) + page - 1) / page * page; };
  for (int64_t size : planned)
    mapped += pages(size) + page;
  auto fail = [&](const char *what) {
    return std::runtime_error(std::string("cannot reserve the arena of ") + std::to_string(mapped) + " bytes (" + what +
                              "): " + std::strerror(errno) + "; fix: a smaller micro_batch or a smaller model");
  };
  void *memory = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw fail("mmap");
  base = static_cast<std::byte *>(memory);
  std::byte *at = base;
  for (int index = 0; index < MG_SEGMENT_COUNT; ++index) {
    sizes[index] = planned[index];
    size_t bytes = pages(planned[index]);
    if (bytes && mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) {
      std::runtime_error error = fail("mprotect");
      munmap(base, mapped);
      throw error;
    }
    segments[index] = at + bytes - planned[index];
    total += planned[index];
    at += bytes + page;
  }
}

Arena::~Arena() { munmap(base, mapped); }

void Arena::poison() {
  for (int index = 0; index < MG_SEGMENT_COUNT; ++index)
    std::memset(segments[index], 0xFF, sizes[index]);
}

} // namespace megacc::runtime
