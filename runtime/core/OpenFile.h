// A file that is open as long as this lives, and reading from one.
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unistd.h>
#include <utility>

namespace megacc::runtime {

class OpenFile {
public:
  /// Takes a descriptor over; a negative one is not a file.
  explicit OpenFile(int descriptor = -1) : descriptor(descriptor) {}
  OpenFile(OpenFile &&other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}
  OpenFile &operator=(OpenFile &&other) noexcept {
    std::swap(descriptor, other.descriptor);
    return *this;
  }
  ~OpenFile() {
    if (descriptor >= 0)
      ::close(descriptor);
  }

  explicit operator bool() const { return descriptor >= 0; }
  int get() const { return descriptor; }
  /// Closes it now; what close() returns.
  int close() { return ::close(std::exchange(descriptor, -1)); }

private:
  int descriptor;
};

/// Reads as much of the target as the file has from `offset` on, whatever signals arrive: the bytes read, or -1 and errno.
inline ssize_t readAt(int file, uint64_t offset, std::span<std::byte> target) {
  size_t done = 0;
  while (done < target.size()) {
    ssize_t count = ::pread(file, target.data() + done, target.size() - done, off_t(offset + done));
    if (count == 0)
      break;
    if (count > 0)
      done += size_t(count);
    else if (errno != EINTR)
      return -1;
  }
  return ssize_t(done);
}

} // namespace megacc::runtime
