// What a pass chose, what else there was, and why.
#ifndef MEGACC_DIALECTS_INTERFACES_DECISION_H
#define MEGACC_DIALECTS_INTERFACES_DECISION_H

#include "mlir/IR/BuiltinAttributes.h"

#include <optional>
#include <string>
#include <vector>

namespace megacc {

/// What a module says about its plan, for people: its decisions, an array of dictionaries; budgets with the milliseconds of each; the bytes
/// that no plan can be below and the milliseconds that none within the budget can be; the bytes that it needs where it does not fit.
constexpr llvm::StringLiteral kDecisionsAttr = "megacc.decisions";
constexpr llvm::StringLiteral kBudgetsAttr = "megacc.budgets";
constexpr llvm::StringLiteral kMemoryAttr = "megacc.memory";
constexpr llvm::StringLiteral kNeededAttr = "megacc.needed";

struct Decision {
  struct Option {
    std::string choice;
    /// Alive from the forward to the backward of a micro-batch, and its milliseconds; without a value where neither was counted.
    std::optional<int64_t> bytes;
    std::optional<double> milliseconds;
  };
  /// The letter of its blocks, or the path of an op; empty for what is of the whole step.
  std::string block;
  /// What is decided on, by its name there.
  std::string value;
  Option chosen;
  std::vector<Option> alternatives;
  std::string reason;
  std::vector<int64_t> slots;

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  /// "E:mixer/dispatch: computed again, 22 ops, ...": a line for people.
  std::string describe() const;
};

/// The decisions of a module; of an attribute that is none of ours nothing is taken.
std::vector<Decision> readDecisions(mlir::Operation *module);

} // namespace megacc

#endif
