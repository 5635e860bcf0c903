// Mamba-3, mimo and siso (conventions section 8).
#include "passes/train/ForwardBuilder.h"

using namespace mlir;

namespace megacc::step {

/// Epsilon of the norms of B, C and y (conventions 5.1).
static constexpr double kEpsilon = 1e-5;

Value buildMamba3(ForwardBuilder &builder, const mega::KeyValues &keys, Value n) {
  int64_t heads = keys.getInt("heads"), dim = keys.getInt("head_dim");
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
  bool gated = keys.getBool("state_gate");
  if (gated) {
    Value logits = builder.linear(n, "state_gate"), bias = builder.read("state_gate.bias", "state_gate");
    parameters.push_back(StateGateOp::create(ops, builder.getLoc("state_gate"), builder.getF32Type({rows, heads}), logits, bias));
  }
  auto number = [&](StringRef key) { return ops.getI64IntegerAttr(keys.getInt(key)); };
  RankedTensorType y = builder.getType({rows, heads * dim});
  auto flag = [&](bool set) { return set ? ops.getUnitAttr() : UnitAttr(); };
  auto scan = Mamba3ScanOp::create(ops, builder.getLoc("scan"), y, TypeRange(), projection, parameters, builder.getDocuments(),
                                   ops.getI64IntegerAttr(builder.getBatch()), ops.getI64IntegerAttr(sequence), number("heads"),
                                   number("groups"), number("rank"), number("head_dim"), number("state"), number("angles"), number("chunk"),
                                   flag(keys.getText("variant") == "mimo"), flag(keys.getBool("out_norm")),
                                   flag(keys.getText("decay") == "heavy"), flag(gated), ops.getF64FloatAttr(kEpsilon), ArrayAttr());
  return builder.linear(scan.getY(), "out_proj");
}

} // namespace megacc::step
