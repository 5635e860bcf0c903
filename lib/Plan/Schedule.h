// Which bytes of the temporaries are alive at every launch of a step.
#pragma once
#include "dialects/Rt/Rt.h"

#include <array>
#include <vector>

namespace megacc {

/// What a value is for: the backward reads it, the forward alone does, the backward makes it, it is computed again, or one launch writes
/// to it what nobody reads.
enum ValueClass { kKept, kForward, kBackward, kAgain, kScratch, kValueClasses };
constexpr std::array<const char *, kValueClasses> valueClassNames = {"kept", "forward", "backward", "again", "scratch"};

struct Schedule {
  struct Value {
    int64_t bytes = 0;
    int first = 0, last = 0; // launches
    ValueClass kind = kForward;
  };
  std::vector<rt::CallOp> calls;
  std::vector<Value> values;

  /// Bytes alive at a launch, by class.
  using Alive = std::array<int64_t, kValueClasses>;
  std::vector<Alive> countAlive() const;
};

/// Of a function of the module that rt-build-receipt left. A value takes its bytes from the launch that writes it first to the last that
/// touches it; of values that share a place the one written last counts. Empty where there is no such function.
Schedule readSchedule(mlir::ModuleOp launches, llvm::StringRef function);

} // namespace megacc
