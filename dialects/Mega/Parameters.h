// Parameters and forward FLOPs that a declaration implies (conventions sections 2, 3 and 17).
#pragma once
#include "dialects/Mega/Model.h"

namespace megacc::mega {

/// How a parameter starts (conventions section 3); `a` is the value, the standard deviation, the bound or the
/// width of an identity.
enum class Initializer { constant, normal, uniform, dt_bias, a_log, identity, mhc };

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  Initializer initializer = Initializer::normal;
  double a = 0.02;
  bool fp32 = false;         // whatever the precision
  bool decays = true;
  bool trained = true;
  double active_share = 1.0; // of a token's use; top_k / experts for routed experts
  int64_t slot = -1;         // block, or -1
  int64_t elements() const;
};

/// All parameters, in the order of the forward pass.
std::vector<Parameter> parameters(const Model &model);

/// Copies of the null logit of a moe, and the slots a token picks from experts and copies (conventions 7.9).
int64_t nullExperts(const KeyValues &keys);
int64_t expertSlots(const KeyValues &keys);

/// Forward FLOPs a token of one block: 2mnk a GEMM, the causal half of attention.
double blockFlops(const Model &model, const Block &block);

/// Forward FLOPs a token of everything outside the blocks: input features, heads, extra prediction depths.
double outerFlops(const Model &model);

/// Rows of each n-gram table: successive primes (conventions 11.2).
std::vector<int64_t> ngramSizes(const KeyValues &keys);

/// The blocks of one multi-token-prediction depth: the family of letter `block`, then an mlp.
std::vector<Block> predictionBlocks(const Model &model);

} // namespace megacc::mega
