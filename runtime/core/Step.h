// A step.so that is loaded and ready to run.
#pragma once
#include "runtime/core/Arena.h"
#include "runtime/core/Descriptor.h"

#include <memory>
#include <span>

namespace megacc::runtime {

/// Sees every launch of a step (DESIGN 9.6). `record` is what the descriptor says about it.
class LaunchObserver {
public:
  virtual ~LaunchObserver() = default;
  virtual int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) = 0;
};

class Step {
public:
  /// Checks the file, opens the kernel library its descriptor names and then the step itself, and reserves the arena. Throws
  /// ArtifactError or std::runtime_error.
  explicit Step(const std::string &path);
  ~Step();
  Step(const Step &) = delete;
  Step &operator=(const Step &) = delete;

  const Descriptor &descriptor() const { return about; }
  Arena &arena() { return *memory; }

  /// The three functions; a kernel's failure is a std::runtime_error with its message.
  void runMicroBatch(int64_t micro_batch) { run(micro_batch_function, "micro_batch", micro_batch); }
  void runUpdate() { run(update_function, "update", 0); }
  void runEvaluate() { run(evaluate_function, "evaluate", 0); }

  /// Address of a kernel; null where the library has none.
  MgKernel findKernel(const std::string &name) const;
  void setThreads(int count);
  /// What besides the shapes decides the bits of a result, for example "cpu Haswell".
  std::string kernelVariant() const;
  /// Null: launches go straight to the kernels.
  void setObserver(LaunchObserver *observer);

  std::span<float> weights(const ParameterPlace &place) { return floats(MG_WEIGHTS, place.offset, place.elements()); }
  std::span<float> gradients(const ParameterPlace &place) { return floats(MG_GRADIENTS, place.gradient, place.elements()); }
  std::span<float> firstMoments(const ParameterPlace &place) { return floats(MG_OPTIMIZER, place.first_moment, place.elements()); }
  std::span<float> secondMoments(const ParameterPlace &place) { return floats(MG_OPTIMIZER, place.second_moment, place.elements()); }
  /// An input, metric or output of one micro-batch.
  std::span<float> values(const Place &place, int64_t micro_batch = 0) {
    return floats(MG_IO, place.offset + micro_batch * place.stride, place.elements());
  }
  std::span<int32_t> integers(const Place &place, int64_t micro_batch = 0) {
    return {reinterpret_cast<int32_t *>(values(place, micro_batch).data()), size_t(place.elements())};
  }

private:
  void run(MgStepFunction function, const char *name, int64_t micro_batch);
  static int32_t launchDirectly(MgContext *context, MgKernel kernel, const MgLaunch *launch);
  static int32_t launchObserved(MgContext *context, MgKernel kernel, const MgLaunch *launch);
  std::span<float> floats(int segment, int64_t offset, int64_t count) {
    return {reinterpret_cast<float *>(memory->segment(segment) + offset), size_t(count)};
  }

  Descriptor about;
  std::unique_ptr<Arena> memory;
  void *library = nullptr, *object = nullptr;
  MgStepFunction micro_batch_function = nullptr, update_function = nullptr, evaluate_function = nullptr;
  const char *(*last_error)() = nullptr;
  MgContext context = {};
  LaunchObserver *observer = nullptr;
  const std::vector<LaunchRecord> *records = nullptr; // of the function that runs
};

} // namespace megacc::runtime
