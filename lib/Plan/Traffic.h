// Bytes that a training step moves through memory.
#pragma once
#include "mlir/IR/BuiltinOps.h"

namespace megacc {

struct Traffic {
  double moved = 0; // over all micro-batches and the update
  /// What no plan can avoid: every parameter, gradient, master, moment once, and once a micro-batch what the backward needs of the forward.
  double state = 0, saved = 0;
};

/// `launches`: the module that rt-build-receipt left.
Traffic measureTraffic(mlir::ModuleOp launches, int64_t accumulate);

} // namespace megacc
