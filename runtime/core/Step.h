// A step.so that is loaded and ready to run.
#pragma once
#include "runtime/core/Descriptor.h"
#include "runtime/core/Device.h"
#include "runtime/core/Mesh.h"

#include <functional>
#include <memory>
#include <optional>
#include <span>

namespace megacc::runtime {

class Artifact;

/// Sees every launch of a step (DESIGN 9.6). `record` is what the descriptor says about it.
class LaunchObserver {
public:
  virtual ~LaunchObserver() = default;
  virtual int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) = 0;
};

/// What the state has of a parameter. value: its fp32 numbers, the master where it has one; writing them writes the weight too, rounded.
/// weight: what kernels read. The others are of trained parameters alone.
enum class StatePart { value, weight, gradient, first_moment, second_moment };

class Step {
public:
  /// Elements of a tensor that are moved at once: 16 MiB of fp32.
  static constexpr int64_t transfer_elements = 4 << 20;

  /// Checks the file, opens the kernel library its descriptor names and then the step itself, reserves the arena and copies the constants.
  /// State starts as zeros. Throws ArtifactError or std::runtime_error.
  explicit Step(const std::string &path);
  Step(const Step &) = delete;
  Step &operator=(const Step &) = delete;

  const Descriptor &descriptor() const { return about; }
  /// The ranks that run it together.
  Mesh &mesh() { return ranks; }
  const Mesh &mesh() const { return ranks; }

  /// Runs a function of the step on what sendInputs() sent; a kernel's failure is a std::runtime_error with its message.
  void run(std::string_view function, int64_t micro_batch = 0);
  /// All micro-batches and the update; the evaluation. On a target that captures each is one graph, made when it is first asked for, except
  /// while an observer wants to see every launch.
  void runStep();
  void runEvaluation();
  /// What some steps do after their update: the function intervene.K, on the state as it is.
  void runIntervention(size_t number);
  /// The target: its kernels, memory, clocks and choices.
  Device &target() { return device; }

  /// The host's copy of an i32 or f32 input of one micro-batch.
  std::span<int32_t> integers(const Place &input, int64_t micro_batch = 0) { return staged<int32_t>(input, micro_batch); }
  std::span<float> floats(const Place &input, int64_t micro_batch = 0) { return staged<float>(input, micro_batch); }
  /// Gives all inputs of all micro-batches to the step, in one write.
  void sendInputs();
  /// Takes all metrics from the step, in one read. A flag (invalid.*, nonfinite.*) is raised where it is on any rank.
  void fetchMetrics();
  /// An element of a metric as fetched.
  double metric(const Place &metric, int64_t index = 0) const;
  /// An output of one micro-batch, as fp32.
  std::vector<float> readOutput(const Place &output, int64_t micro_batch = 0);

  /// Elements [first, first + values.size()) of a part of a parameter's state, counted row-major in the whole tensor and widened or rounded
  /// to nearest even where it is bf16. Elements that another rank has stay as they are.
  void readState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<float> values);
  void writeState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<const float> values);
  /// The same elements, of whichever ranks have them. All ranks call it in the same order.
  void collectState(const ParameterPlace &parameter, StatePart part, int64_t first, std::span<float> values);
  /// A whole tensor, of all ranks.
  std::vector<float> readState(const ParameterPlace &parameter, StatePart part);
  /// Makes the initial values of a parameter (mg_initialize of kernels.def), weight and master, a launch for every run of its elements.
  void initialize(const ParameterPlace &parameter, int64_t kind, uint64_t key);
  /// Zeros everywhere in weights, optimizer state and gradients.
  void clearState();
  /// Fills what a step must not read before it has written it with 0xFF, a NaN in every float: temporaries, io, and gradients, whose
  /// padding stays zero.
  void poison();

  /// Raw bytes of a segment.
  void read(MgSegment segment, int64_t offset, std::span<std::byte> bytes) { device.read(segment, offset, bytes); }
  void fill(MgSegment segment, int64_t offset, int64_t bytes, int byte) { device.fill(segment, offset, bytes, byte); }

  /// Between steps the temporaries are free for other launches on the target: their bytes, and an operand in them.
  int64_t temporaryBytes() const { return about.segments[MG_TEMPORARIES]; }
  static Device::Operand temporary(int64_t offset, int64_t bytes, MgType type) { return {MG_TEMPORARIES, offset, bytes, type}; }

  /// Null where the library has none.
  MgKernel findKernel(const std::string &name) const { return device.findKernel(name); }
  void setThreads(int count) { device.setThreads(count); }
  /// What besides the shapes decides the bits of a result, for example "cpu oneDNN 2.6.3 avx2".
  std::string kernelVariant() const { return about.target + " " + device.variant(); }
  /// Null: launches go straight to the kernels.
  void setObserver(LaunchObserver *observer);

private:
  Step(const Artifact &artifact, const std::string &path);

  /// The host's copy of a part of the io segment.
  struct Mirror {
    int64_t begin = 0;
    std::vector<std::byte> bytes;
  };
  struct Range {
    MgSegment segment;
    int64_t offset;
    MgType type;
  };

  static int32_t launchDirectly(MgContext *context, MgKernel kernel, const MgLaunch *launch);
  static int32_t launchObserved(MgContext *context, MgKernel kernel, const MgLaunch *launch);
  void mirrorInputsAndMetrics();
  void replay(std::optional<Device::Captured> &graph, const std::function<void()> &work);
  Range findRange(const ParameterPlace &parameter, StatePart part) const;
  std::vector<float> readFloats(const Range &range, int64_t count);
  template <typename T> std::span<T> staged(const Place &place, int64_t micro_batch) {
    return {reinterpret_cast<T *>(inputs.bytes.data() + (place.offset + micro_batch * place.stride - inputs.begin)),
            size_t(place.elements())};
  }

  Descriptor about;
  Mesh ranks;
  Device device;
  std::shared_ptr<void> object;
  std::vector<MgStepFunction> functions; // as about.functions
  Mirror inputs, metrics;
  std::optional<Device::Captured> step_graph, evaluation_graph;
  std::map<size_t, std::optional<Device::Captured>> intervention_graphs;
  LaunchObserver *observer = nullptr;
  const Function *running = nullptr;
  std::string failure; // of launchObserved, which cannot throw
};

} // namespace megacc::runtime
