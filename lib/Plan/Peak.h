// What lies in the temporaries where most of them are alive.
#pragma once
#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace megacc {

struct Peak {
  struct Value {
    std::string path, kernel; // of the launch that makes it
    int64_t bytes = 0;
    bool is_scratch = false;
  };
  std::string path, kernel;  // of the launch with the peak
  bool is_again = false;     // it computes again
  int64_t bytes = 0;         // alive at it
  std::vector<Value> values; // the largest first
};

/// Of @micro_batch; `launches`: the module that rt-build-receipt left. A value takes its bytes from the launch that writes it first to the
/// last that touches it; of values that share a place the one written last counts.
Peak findPeak(mlir::ModuleOp launches);

} // namespace megacc
