// A declaration, checked and completed: what every later phase reads.
#pragma once
#include "dialects/Mega/KeyTable.h"
#include "megacc/StepABI.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

#include <array>

namespace megacc::mega {

struct Feature {
  std::string kind;
  KeyValues keys;
  int64_t order = 0; // rank of the block among those of its placement
};

struct Block {
  int64_t slot = 0; // from 0
  char letter = 0;
  int64_t rank = 0; // among the blocks of its letter, from 0
  std::string kind;
  KeyValues keys;
  std::vector<Feature> features;

  const Feature *find(llvm::StringRef kind) const;
};

/// How Muon updates matrices; lr, decay and schedule are those of the others.
struct Muon {
  double momentum = 0.95, rms = 0.2;
  bool nesterov = true;
  int64_t iterations = 5;
  std::string split = "segments";  // "segments", "heads" or "none"
  std::vector<std::string> except; // patterns of matrices that AdamW updates (Matrices.h)
};

/// FIRE, DASH or ReDo ("fire", "dash", "redo"): what changes matrices after some updates, with all of its keys.
struct Intervention {
  std::string kind;
  KeyValues keys;
};

/// A mega.train block with defaults; sizes are global.
struct Train {
  int64_t micro_batch = 1, accumulate = 1, seed = 0;
  std::string precision = "fp32";
  double clip = 1.0, lr = 3e-4, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1;
  std::string moments = "fp32";  // "fp32" or "bf16": how they are stored
  std::optional<Muon> muon = {}; // of the matrices; without it AdamW updates them too
  std::vector<Intervention> interventions = {};
  std::string schedule = "constant";
  int64_t warmup = 0, steps = 0; // steps 0: the run's total
  double final_lr = -1;          // negative: lr / 10
  bool documents = false;
  /// Between regions of tp its ranks share the tokens.
  bool sequence_parallel = false;
  std::array<int64_t, MG_AXIS_COUNT> mesh = {1, 1, 1}; // ranks on dp, tp, ep
  int64_t zero = 0;                                    // 1: data ranks share the state of the optimizer
  std::string psiv_cache = "off";                      // "off", "auto" or "on"
  std::string recompute = "auto";                      // "auto", "none" or "full"
  std::string memory;                                  // as written, "132GiB"; empty: no budget
  int64_t memory_bytes = 0;                            // 0: no budget
};

/// What stands for every norm of width hidden outside the mixers: "rms", or "dyt" with its keys.
struct Norm {
  std::string kind = "rms";
  KeyValues keys;
};

struct Model {
  std::string name;
  int64_t hidden = 0, vocab = 0, sequence = 0, depth = 0;
  Norm norm;
  double layer_scale = 0; // what each block's scale of what it adds starts at; 0: it has none
  std::vector<Block> blocks;
  std::vector<Feature> placements; // on the input and the objective
  std::vector<int64_t> stage_cuts;
  std::map<char, std::pair<std::string, KeyValues>> families; // by letter
  std::optional<Train> train;

  const Feature *find(llvm::StringRef kind) const;
};

/// Bytes of a text such as "132GiB" or "1.5GB"; nothing if it is none.
std::optional<int64_t> parseBytes(llvm::StringRef text);

/// Checks every declaration of a module, reporting all mistakes at their place, and returns the models in order.
mlir::FailureOr<std::vector<Model>> readModels(mlir::ModuleOp module);

} // namespace megacc::mega
