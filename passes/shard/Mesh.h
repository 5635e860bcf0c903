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
  /// The ranks of tp share the tokens of what all of them would have.
  bool sequence_parallel = false;

  int64_t count() const { return ranks[MG_DP] * ranks[MG_TP] * ranks[MG_EP]; }
};
Mesh getMesh(mlir::ModuleOp module);

/// The texts of an attribute, one for each of `count`; whole where the op does not say.
std::vector<Sharding> getShardings(mlir::Operation *op, llvm::StringRef attribute, size_t count);
void setShardings(mlir::Operation *op, llvm::StringRef attribute, llvm::ArrayRef<Sharding> shardings);
/// How a value is made.
Sharding getSharding(mlir::Value value);
/// Whether ranks of tp share the rows of a value, tokens of the stream: a gather of them is made again in the backward, which keeps the
/// part.
bool sharesTokens(const Mesh &mesh, const Sharding &sharding);
/// How the ranks share a parameter, and the type of the whole tensor.
Sharding getSharding(ParameterOp parameter);
mlir::RankedTensorType getWholeType(ParameterOp parameter);

/// The parameter that a read or an accumulation names.
ParameterOp findParameter(mlir::Operation *op, llvm::StringRef name);

} // namespace megacc::step

#endif
