//===- Mamba3.cpp - Mamba-3, mimo and siso (conventions section 8) --------===//
#include "passes/train/ForwardBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace megacc::step {

/// The backward replays this many tokens at a time from a saved state.
static constexpr int64_t kWindow = 256;
/// Of the norms of B, C and y (conventions 5.1).
static constexpr double kEpsilon = 1e-5;

/// Whether the forward keeps PsiV = x * mimo_x for the backward, or the backward multiplies again.
static bool cachesPsiV(ForwardBuilder &builder, const mega::KeyValues &keys, RankedTensorType psiV) {
  StringRef wanted = builder.getModel().train->psiv_cache;
  if (wanted == "off" || !builder.isTraining())
    return false;
  if (keys.getText("variant") != "mimo") {
    builder.recordDecision("scan", "psiv_cache = " + wanted + ": nothing to cache, variant siso has no mimo_x");
    return false;
  }
  int64_t bytes = psiV.getNumElements() * psiV.getElementTypeBitWidth() / 8;
  if (wanted == "auto")
    builder.recordDecision("scan", "psiv_cache = auto: off, a cache of " + Twine(bytes) +
                                       " bytes is written and read to save one multiplication a number");
  else
    builder.recordDecision("scan", "psiv_cache = on: " + Twine(bytes) + " bytes from the forward to the backward");
  return wanted == "on";
}

Value buildMamba3(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), dim = keys.getInt("head_dim"), state = keys.getInt("state");
  int64_t rows = getDim(n, 0), sequence = builder.getLength(n);
  Value projection = builder.linear(n, "in_proj");
  SmallVector<StringRef> names = {"dt_bias", "D", "B_bias", "C_bias", "B_norm.weight", "C_norm.weight"};
  if (keys.getText("variant") == "mimo")
    names.append({"mimo_x", "mimo_z", "mimo_o"});
  if (keys.getBool("out_norm"))
    names.push_back("norm.weight");
  SmallVector<Value> parameters;
  for (StringRef name : names)
    parameters.push_back(builder.read(name, "scan"));

  OpBuilder &ops = builder.getBuilder();
  auto number = [&](StringRef key) { return ops.getI64IntegerAttr(keys.getInt(key)); };
  RankedTensorType y = builder.getType({rows, heads * dim});
  RankedTensorType states = builder.getType({builder.getBatch(), heads, int64_t(llvm::divideCeil(sequence, kWindow)), state, dim});
  RankedTensorType psiV = builder.getType({rows, heads, keys.getInt("rank"), dim});
  auto scan = Mamba3ScanOp::create(ops, builder.getLoc("scan"), y, states, cachesPsiV(builder, keys, psiV) ? psiV : Type(), projection,
                                   parameters, builder.getDocuments(), ops.getI64IntegerAttr(builder.getBatch()),
                                   ops.getI64IntegerAttr(sequence), number("heads"), number("groups"), number("rank"), number("head_dim"),
                                   number("state"), number("angles"), number("chunk"), ops.getI64IntegerAttr(kWindow),
                                   keys.getText("decay") == "heavy" ? ops.getUnitAttr() : UnitAttr(), ops.getF64FloatAttr(kEpsilon));
  return builder.linear(scan.getY(), "out_proj");
}

} // namespace megacc::step
