// What an op asks of a kernel.
#ifndef MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H
#define MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "mlir/IR/ValueRange.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace megacc {

/// One operand of a launch by its name: a value of the op, or a place of the step's state.
struct LaunchOperand {
  enum class Kind { Value, Weight, Master, Gradient, FirstMoment, SecondMoment, Metric, Output };
  std::string name;
  Kind kind = Kind::Value;
  /// A result or an operand of the op.
  mlir::Value value;
  /// The parameter, metric or output; "*GROUP" is the range of all parameters of a group, see step.parameter.
  std::string state;
  /// Type of the operand.
  mlir::RankedTensorType type;
  /// The first of its elements, where a place of the state is meant in part.
  int64_t first = 0;
};

/// A question: a family of kernels, named parameters, operands with their types. The answer is a record of lib/Kernels, which knows the
/// symbol, the scratch and the tuning parameters. An operand that is not there is absent.
struct KernelQuery {
  std::string family;
  llvm::SmallVector<LaunchOperand> operands;
  llvm::SmallVector<std::pair<std::string, int64_t>> ints;
  llvm::SmallVector<std::pair<std::string, double>> doubles;
  /// The contents of the TABLE operand, where the op has them ready.
  std::vector<int64_t> table;

  explicit KernelQuery(llvm::StringRef family = "") : family(family.str()) {}

  /// Adds a result or operand of the op; a null value (an absent optional) adds nothing.
  KernelQuery &add(llvm::StringRef name, mlir::Value value) {
    if (value)
      operands.push_back({name.str(), LaunchOperand::Kind::Value, value, "", llvm::cast<mlir::RankedTensorType>(value.getType())});
    return *this;
  }
  /// Several operands of one name, in order.
  KernelQuery &addEach(llvm::StringRef name, mlir::ValueRange values) {
    for (mlir::Value value : values)
      add(name, value);
    return *this;
  }
  KernelQuery &addState(llvm::StringRef name, LaunchOperand::Kind kind, llvm::StringRef state, mlir::RankedTensorType type) {
    operands.push_back({name.str(), kind, mlir::Value(), state.str(), type});
    return *this;
  }
  KernelQuery &set(llvm::StringRef name, int64_t value) {
    ints.emplace_back(name.str(), value);
    return *this;
  }
  KernelQuery &setReal(llvm::StringRef name, double value) {
    doubles.emplace_back(name.str(), value);
    return *this;
  }

  /// Null where no operand has this name.
  const LaunchOperand *find(llvm::StringRef name) const {
    for (const LaunchOperand &operand : operands)
      if (operand.name == name)
        return &operand;
    return nullptr;
  }
  bool has(llvm::StringRef name) const { return find(name); }
  std::optional<int64_t> findInt(llvm::StringRef name) const {
    for (const auto &[key, value] : ints)
      if (key == name)
        return value;
    return std::nullopt;
  }
  /// A parameter that the family of the query always has.
  int64_t getInt(llvm::StringRef name) const { return findInt(name).value(); }
};

} // namespace megacc

#endif
