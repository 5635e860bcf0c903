// What --verify and --profile see of every launch.
#pragma once
#include "runtime/core/Step.h"

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

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

/// Times launches, each until it is done.
class Profiler : public LaunchObserver {
public:
  explicit Profiler(Step &step) : step(step) {}
  int32_t launch(const LaunchRecord &record, MgKernel kernel, const MgLaunch *launch) override;
  /// Time by kernel and by block with GFLOP/s and GB/s, over all launches seen.
  std::string table() const;
  /// Chrome's trace format, with the model's paths; the launches of the last `traced_launches` alone.
  void writeTrace(const std::filesystem::path &path) const;

private:
  using Clock = std::chrono::steady_clock;
  struct Sum {
    int64_t launches = 0;
    double seconds = 0, flops = 0, bytes = 0;
  };
  struct Event {
    const LaunchRecord *record;
    Clock::time_point begin, end;
  };
  static constexpr size_t traced_launches = 20000;

  Step &step;
  std::map<std::string, Sum> kernels;
  std::map<int64_t, Sum> blocks;
  std::vector<Event> events; // a ring
  size_t next = 0;
};

} // namespace megacc::runtime
