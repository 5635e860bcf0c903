// When every value of a function is needed.
#ifndef MEGACC_LIB_LIFETIMES_LIFETIMES_H
#define MEGACC_LIB_LIFETIMES_LIFETIMES_H

#include "dialects/Step/Step.h"
#include "lib/Kernels/Kernels.h"
#include "lib/Packing/Packing.h"

namespace megacc {

/// One launch of a function: its op, what it asks, and the record that answers.
struct BoundLaunch {
  mlir::Operation *op;
  KernelQuery query;
  const Record *record;
  /// Buffer of its scratch, -1 without.
  int scratch = -1;
};

/// The launches of one function in order, and the buffers that hold its values: one per value, alive from the launch that makes it to its
/// last use, or that of an operand which dies where the record lets a result take its place; and one per launch with scratch.
class Lifetimes {
public:
  /// Needs the attribute `record` on every launch (step-select-kernels).
  explicit Lifetimes(step::FuncOp func);

  llvm::ArrayRef<BoundLaunch> getLaunches() const { return launches; }
  /// For packBuffers; steps are positions of launches.
  llvm::ArrayRef<Buffer> getBuffers() const { return buffers; }
  /// The buffer of a value; -1 for one that lies in the step's state or inputs.
  int getBuffer(mlir::Value value) const;
  /// Counts the values that have buffers, in the order they are made; -1 for others.
  int64_t getNumber(mlir::Value value) const;

private:
  int64_t getLastUse(mlir::Value value, int64_t position) const;
  int findReusable(const BoundLaunch &launch, mlir::Value result, int64_t position, llvm::ArrayRef<int> taken) const;

  mlir::Block *body;
  std::vector<BoundLaunch> launches;
  std::vector<Buffer> buffers;
  llvm::DenseMap<mlir::Operation *, int64_t> positions;
  llvm::DenseMap<mlir::Value, int> places;
  llvm::DenseMap<mlir::Value, int64_t> numbers;
};

} // namespace megacc

#endif
