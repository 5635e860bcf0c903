// What --verify and --profile see of every launch.
#pragma once
#include "runtime/core/Step.h"

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace megacc::runtime {

/// Compares launches with the descriptor: the kernel of every call, and per step the launches of every slot with its receipt.
class Verifier : public LaunchObserver {
public:
  explicit Verifier(const Step &step);
  int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) override;
  /// After the micro-batches of a step: throws std::runtime_error with every difference. Starts counting anew.
  void checkStep();
  /// Forgets the launches since the last check, those of an evaluation.
  void forget() { counts.clear(); }
  int64_t launches() const { return total; }

private:
  const Step &step;
  std::map<std::string, MgKernel> kernels;
  std::map<int64_t, std::map<std::string, int64_t>> counts; // by slot and kernel, micro-batches only
  std::string mistakes;
  int64_t total = 0;
};

/// Times the launches of every other step, and the steps between as a whole, so that what is between the launches shows.
class Profiler : public LaunchObserver {
public:
  explicit Profiler(Step &step) : step(step) {}
  int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) override;
  /// Around each step.
  void beginStep();
  void endStep();
  /// After the last step: measures what the machine can do at most, in the memory of the step's temporaries.
  void measurePeaks();
  /// Time by kernel and by block with GFLOP/s, GB/s and their shares of the machine's peaks; whole steps beside the sum of their kernels.
  std::string table() const;
  /// Chrome's trace format, with the model's paths; the last `traced_launches` alone.
  void writeTrace(const std::filesystem::path &path) const;

private:
  struct Sum {
    int64_t launches = 0;
    double seconds = 0, flops = 0, bytes = 0;
  };
  struct Pending {
    const LaunchRecord *record;
    Device::Mark begin, end;
  };
  struct Event {
    const LaunchRecord *record;
    double begin, end; // seconds of the observed steps, one after the other
  };
  static constexpr size_t traced_launches = 20000;

  MgType findWeightType() const;
  void measureCopy();
  void measureProduct();
  /// Seconds of a launch: the best of some runs of several.
  double time(const std::function<void()> &launch);

  Step &step;
  /// Bytes read and written, and floating point operations, a second; 0 where the temporaries have no room to measure them.
  double copy_peak = 0, product_peak = 0;
  std::string product_type;
  int64_t product_scratch = -1; // bytes that a product of that type takes beside its operands; -1: the step has none
  std::map<std::string, Sum> kernels;
  std::map<int64_t, Sum> blocks;
  std::vector<Pending> pending;
  std::optional<Device::Mark> step_begin;
  std::vector<double> whole_steps; // seconds
  int64_t steps = 0, observed = 0;
  double observed_seconds = 0, clock = 0;
  std::vector<Event> events; // a ring
  size_t next = 0;
};

} // namespace megacc::runtime
