// What the declaration knows of each kind of block family and of placement: one spec per kind, in families/ and placements/, listed in
// Registry.cpp. Nothing else in this folder names a kind.
#pragma once
#include "dialects/Mega/Parameters.h"
#include "mlir/IR/Diagnostics.h"

namespace megacc::mega {

/// Begins an error at the place of a key; the empty key is the kind itself.
using ErrorAt = llvm::function_ref<mlir::InFlightDiagnostic(llvm::StringRef key)>;

/// A size that an axis of a mesh splits, in the spec of what it is the size of: a key, which 0 switches off.
struct MeshRule {
  int64_t axis = MG_TP;
  std::string key;
  bool or_whole = false; // where the ranks cannot share it evenly, each has all of the kind's parameters, and does all of its work
};

/// A kind of block. A rule between keys has an id (mega.<kind>.c<n>); keys that are missing or wrong have been reported, have no value and
/// take no part in further rules.
struct FamilySpec {
  std::string word = {};
  std::vector<KeySpec> keys = {};
  /// Sets the keys that follow from other sizes and reports broken rules between keys. May be null.
  void (*complete)(KeyValues &keys, const Model &model, ErrorAt error) = nullptr;
  /// Adds the parameters of the mixer, in the scope "<block>.mixer.".
  void (*addParameters)(ParameterList &list, const KeyValues &keys) = nullptr;
  /// Forward FLOPs per token of the mixer.
  double (*flops)(const Model &model, const KeyValues &keys) = nullptr;
  /// What axes split; the parameters say in which dimensions.
  std::vector<MeshRule> mesh = {};
  /// Whether it is attention, before which a dyt starts at its attention_alpha.
  bool attends = false;
};

enum class Role { input, block, objective };

/// Where in a block the parameters of a placement stand: before the block's norm, at the end of its mixer (in the mixer's scope), after it.
enum class BlockPart { none, before, mixer, after };

/// A feature placed on the input, on blocks or on the objective. Functions may be null unless said otherwise.
struct PlacementSpec {
  std::string word = {};
  Role role = Role::block;
  std::vector<std::string> families = {}; // the kinds of block it fits; empty: all
  std::vector<KeySpec> keys = {};
  std::vector<std::pair<std::string, std::string>> excludes = {}; // kinds that may not stand on the same block, and why
  std::vector<std::string> shared_keys = {};                      // integers that all placements of the kind must agree on
  /// Reports broken rules between its own keys.
  void (*check)(const KeyValues &keys, const Model &model, ErrorAt error) = nullptr;
  /// Where it fits its target: sets the keys that follow from other sizes and reports broken rules with others. `family` has the keys of
  /// the blocks it stands on, none on the input and the objective.
  void (*complete)(KeyValues &keys, const Model &model, const KeyValues &family, ErrorAt error) = nullptr;

  /// What axes split; the parameters say in which dimensions.
  std::vector<MeshRule> mesh = {};

  /// On the input and the objective: its parameters and its forward FLOPs per token.
  void (*addParameters)(ParameterList &list, const KeyValues &keys) = nullptr;
  double (*flops)(const Model &model, const KeyValues &keys) = nullptr;
  /// The blocks that it builds beside the stack.
  std::vector<Block> (*blocks)(const Model &model, const KeyValues &keys) = nullptr;

  /// On a block: its parameters, none where it is null; and the block's forward FLOPs per token with it, from those without, the same
  /// where it is null.
  BlockPart part = BlockPart::none;
  void (*addBlockParameters)(ParameterList &list, const Block &block, const Feature &feature) = nullptr;
  double (*blockFlops)(const Model &model, const Block &block, const Feature &feature, double flops) = nullptr;
};

/// All kinds in the order of their parameters within a model or block; the find functions return null for an unknown word.
llvm::ArrayRef<FamilySpec> allFamilies();
const FamilySpec *findFamily(llvm::StringRef word);
llvm::ArrayRef<PlacementSpec> allPlacements();
const PlacementSpec *findPlacement(llvm::StringRef word);

/// The keys of a family, a placement or a table of settings; null for an unknown word.
const std::vector<KeySpec> *findKeys(llvm::StringRef word);

} // namespace megacc::mega
