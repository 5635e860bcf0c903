//===- KernelQuery.h - what an op needs from a kernel ---------------------===//
#ifndef MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H
#define MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H

#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <string>
#include <utility>

namespace megacc {

/// What one operand of a launch points to: a value of the op, or a place of the step's state.
struct LaunchOperand {
  enum class Kind { Result, Operand, Null, Weight, Gradient, FirstMoment, SecondMoment, Metric, Output };
  Kind kind = Kind::Null;
  /// Which result or operand of the op.
  unsigned index = 0;
  /// The parameter, metric or output. A name that starts with '*' is a range of parameters: "*decays", "*plain", "*trained" (both).
  std::string name;
  /// Elements of a metric or an output.
  int64_t count = 0;
};

/// One launch without its addresses.
struct KernelQuery {
  /// A symbol of kernels.def.
  std::string kernel;
  /// In the order of kernels.def, without the workspace. Empty: the results, then the operands.
  llvm::SmallVector<LaunchOperand> operands;
  llvm::SmallVector<int64_t> ints;
  llvm::SmallVector<double> doubles;
  int64_t workspaceBytes = 0;
  /// (result, operand) pairs that may share memory.
  llvm::SmallVector<std::pair<unsigned, unsigned>> inPlace;
  /// Index in `ints` of the `accumulate` flag, and the result it is about; -1 without one.
  int accumulateIndex = -1;
  int gradientResult = -1;

  void addResult(unsigned index) { operands.push_back({LaunchOperand::Kind::Result, index, "", 0}); }
  void addOperand(unsigned index) { operands.push_back({LaunchOperand::Kind::Operand, index, "", 0}); }
  void addNull() { operands.push_back({LaunchOperand::Kind::Null, 0, "", 0}); }
  void addState(LaunchOperand::Kind kind, llvm::StringRef name, int64_t count = 0) { operands.push_back({kind, 0, name.str(), count}); }
};

} // namespace megacc

#endif
