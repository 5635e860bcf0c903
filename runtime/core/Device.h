// The target of a step, opened: its kernels and its memory, all through the table mg_target().
#pragma once
#include "megacc/StepABI.h"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>

namespace megacc::runtime {

class Device {
public:
  /// Opens the kernel library of a target (of cpu that of Processor.h, of sm_* libmegacc_cuda.so), which lies beside the program, and
  /// checks that it has ABI version MEGACC_ABI_VERSION and these kernels, each with this signature. Throws ArtifactError.
  Device(const std::string &target, const std::map<std::string, std::string> &signatures);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  /// Reserves the segments, as many bytes as `sizes` says, and opens the context on them. Throws std::runtime_error.
  void reserve(const int64_t (&sizes)[MG_SEGMENT_COUNT]);
  MgContext &context() { return about; }
  /// Bytes in use on the device, those of other programs too; none where its memory is the host's.
  std::optional<int64_t> bytesInUse() const;
  /// Bytes of the segments.
  int64_t bytesReserved() const { return std::accumulate(std::begin(sizes), std::end(sizes), int64_t(0)); }

  /// Ranges of a segment, in bytes. Throws std::runtime_error for one that is not inside it, or with the target's message.
  void write(int segment, int64_t offset, std::span<const std::byte> bytes);
  void read(int segment, int64_t offset, std::span<std::byte> bytes);
  void fill(int segment, int64_t offset, int64_t bytes, int byte);

  /// Null where the library has none.
  MgKernel findKernel(const std::string &name) const;
  /// Calls a kernel on ranges {segment, offset} of `bytes` and `types`; a negative segment: the operand is absent.
  struct Operand {
    int segment;
    int64_t offset, bytes;
    MgType type;
  };
  void launch(MgKernel kernel, std::span<const Operand> operands, std::span<const int64_t> ints, std::span<const double> doubles);
  int32_t synchronize() { return target->synchronize(&about); }

  /// A moment in the work of the compute stream.
  using Mark = std::unique_ptr<void, void (*)(void *)>;
  Mark mark();
  /// Waits for both; seconds.
  double elapsed(const Mark &begin, const Mark &end) const;
  /// Names the work that follows, for the target's own tools; null ends the last name.
  void annotate(const char *name) const;

  /// Whether kernels have choices that calibration makes.
  bool hasChoices() const { return target->calibrate; }
  void calibrate() const { target->calibrate(); }
  std::string choices() const { return target->choices(); }
  void setChoices(const std::string &text) const { check(target->set_choices(text.c_str())); }

  /// Whether launches can be noted and run again at once.
  bool captures() const { return target->begin_capture; }
  /// What `work` launches, to be replayed; nothing runs. Throws what it throws, and std::runtime_error.
  using Captured = std::unique_ptr<void, void (*)(void *)>;
  Captured capture(const std::function<void()> &work);
  void replay(const Captured &captured) { check(target->replay(&about, captured.get())); }
  void setThreads(int count) { check(target->set_threads(count)); }
  std::string variant() const { return target->variant(); }
  /// Throws std::runtime_error with the target's message where the status is not 0.
  void check(int32_t status) const;

private:
  void *locate(int segment, int64_t offset, int64_t bytes) const;

  const MgTarget *target = nullptr;
  MgContext about = {};
  int64_t sizes[MG_SEGMENT_COUNT] = {};
  bool reserved = false, opened = false;
};

} // namespace megacc::runtime
