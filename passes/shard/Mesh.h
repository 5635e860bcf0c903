// The mesh of a module, and marks of the shard phase.
#ifndef MEGACC_PASSES_SHARD_MESH_H
#define MEGACC_PASSES_SHARD_MESH_H

#include "dialects/Interfaces/Sharding.h"
#include "dialects/Step/Step.h"

namespace megacc::step {

constexpr llvm::StringLiteral kMeshKey = "mesh"; // of megacc.config
constexpr llvm::StringLiteral kShardingAttr = "sharding", kNeedsAttr = "needs", kSplitsAttr = "splits", kWholeAttr = "whole";

/// Ranks on every axis.
struct Mesh {
  std::array<int64_t, MG_AXIS_COUNT> ranks = {1, 1, 1};

  int64_t count() const { return ranks[MG_DP] * ranks[MG_TP] * ranks[MG_EP]; }
};
Mesh getMesh(mlir::ModuleOp module);

/// The texts of an attribute, one for each of `count`; whole where the op does not say.
std::vector<Sharding> getShardings(mlir::Operation *op, llvm::StringRef attribute, size_t count);
void setShardings(mlir::Operation *op, llvm::StringRef attribute, llvm::ArrayRef<Sharding> shardings);
/// How a value is made.
Sharding getSharding(mlir::Value value);
/// How the ranks share a parameter, and the type of the whole tensor.
Sharding getSharding(ParameterOp parameter);
mlir::RankedTensorType getWholeType(ParameterOp parameter);

/// The parameter that a read or an accumulation names.
ParameterOp findParameter(mlir::Operation *op, llvm::StringRef name);

} // namespace megacc::step

#endif
