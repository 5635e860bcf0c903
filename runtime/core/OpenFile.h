// A file that is open as long as this lives.
#pragma once
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

} // namespace megacc::runtime
