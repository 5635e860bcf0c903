// What the fuzz targets share: a property that must hold, and files in memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

/// Ends the program where a property does not hold, so that libFuzzer keeps the input.
inline void require(bool holds, const char *property) {
  if (holds)
    return;
  fprintf(stderr, "does not hold: %s\n", property);
  __builtin_trap();
}

/// A file without a folder, under a path of /proc.
class MemoryFile {
public:
  MemoryFile(const void *data, size_t size) : descriptor(memfd_create("fuzz", MFD_CLOEXEC)) {
    require(descriptor >= 0 && ::write(descriptor, data, size) == ssize_t(size), "a file in memory can be made");
  }
  ~MemoryFile() { ::close(descriptor); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }

private:
  int descriptor;
};
