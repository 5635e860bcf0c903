// What each kind of family and placement builds.
// One file per kind, in families/ and placements/, listed in Builders.cpp: the other half of its spec in dialects/Mega.
#ifndef MEGACC_PASSES_TRAIN_BUILDERS_H
#define MEGACC_PASSES_TRAIN_BUILDERS_H

#include "passes/train/BlockBuilder.h"

namespace megacc::step {

/// mixer(n) of one block family; the scope is "<block>.mixer". Rows and their length come from n (ForwardBuilder::getLength), not from the
/// model.
using FamilyBuilder = mlir::Value (*)(ForwardBuilder &builder, const mega::KeyValues &keys, mlir::Value n);

/// What placements on the objective read: the input embedding, the output of the final norm, and the targets.
struct Forward {
  mlir::Value embedding, hidden, targets;
};

/// What a kind of placement builds: the function of its role is set, the others are null.
struct PlacementBuilder {
  /// What it adds to the embedding.
  mlir::Value (*input)(ForwardBuilder &builder, const mega::Feature &feature, mlir::Value tokens) = nullptr;
  /// Its hooks into one block.
  std::unique_ptr<BlockHooks> (*block)(const mega::Feature &feature) = nullptr;
  /// Adds loss terms. Block outputs are in ForwardBuilder::getKept.
  void (*objective)(ForwardBuilder &builder, const mega::Feature &feature, const Forward &forward) = nullptr;
};

/// The builder of a kind; null where there is none yet.
FamilyBuilder findFamilyBuilder(llvm::StringRef kind);
const PlacementBuilder *findPlacementBuilder(llvm::StringRef kind);

} // namespace megacc::step

#endif
