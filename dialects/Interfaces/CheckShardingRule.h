// Whether a rule describes its op.
#ifndef MEGACC_DIALECTS_INTERFACES_CHECKSHARDINGRULE_H
#define MEGACC_DIALECTS_INTERFACES_CHECKSHARDINGRULE_H

#include "dialects/Interfaces/ShardingRule.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace megacc {

/// What is wrong with a rule for operands and results of these types; nothing if it describes them. `getAttribute` gives an integer
/// attribute of the op, nullopt where it has none of that name. The rule is true of the shapes, then; that it is true of the numbers is
/// for the executed test to show.
llvm::SmallVector<std::string> checkShardingRule(const ShardingRule &rule, llvm::ArrayRef<mlir::RankedTensorType> operands,
                                                 llvm::ArrayRef<mlir::RankedTensorType> results,
                                                 llvm::function_ref<std::optional<int64_t>(llvm::StringRef)> getAttribute);

/// The same for an op.
llvm::SmallVector<std::string> checkShardingRule(const ShardingRule &rule, mlir::Operation *op);

} // namespace megacc

#endif
