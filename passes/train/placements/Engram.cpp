// Averages over the last tokens beside the mixer (conventions 10.2 and 10.3).
#include "passes/train/Builders.h"

using namespace mlir;

namespace megacc::step {
namespace {

class EngramHooks : public BlockHooks {
public:
  explicit EngramHooks(const mega::Feature &feature) : keys(feature.keys) {}

  Value beside(ForwardBuilder &builder, Value n) override {
    Value y = average(builder, builder.linear(n, "in_proj"));
    y = keys.getBool("gated") ? gate(builder, n, y) : builder.linear(y, "out_proj");
    if (!keys.getInt("conv"))
      return y;
    Value local = builder.causalConv(normalise(builder, y), "conv", /*bias=*/false, /*silu=*/true);
    return keys.getBool("conv_residual") ? builder.add(local, y, "conv_residual") : local;
  }

private:
  /// The mean over orders of W_o (mean of the last o rows of z).
  Value average(ForwardBuilder &builder, Value z) {
    OpBuilder &ops = builder.getBuilder();
    const std::vector<int64_t> &orders = keys.getInts("orders");
    Value sum;
    for (int64_t order : orders) {
      std::string name = "order." + std::to_string(order);
      Value mean = WindowSumOp::create(ops, builder.getLoc(name), z.getType(), z, builder.getDocuments(),
                                       ops.getI64IntegerAttr(builder.getBatch()), ops.getI64IntegerAttr(builder.getLength(z)),
                                       ops.getI64IntegerAttr(order), ops.getF64FloatAttr(1.0 / double(order * orders.size())), UnitAttr());
      Value part = builder.linear(mean, name);
      sum = sum ? builder.add(part, sum, name) : part;
    }
    return sum;
  }

  /// sigmoid(alignment of n with the key) times the value.
  Value gate(ForwardBuilder &builder, Value n, Value y) {
    OpBuilder &ops = builder.getBuilder();
    Value key = builder.linear(y, "key"), value = builder.linear(y, "value");
    auto type = cast<RankedTensorType>(n.getType()).clone({getDim(n, 0), 1});
    Value gate = AlignmentOp::create(ops, builder.getLoc("gate"), type, n, key, ops.getF64FloatAttr(kNormEpsilon),
                                     keys.getBool("sqrt_gate") ? ops.getUnitAttr() : UnitAttr());
    return RowGateOp::create(ops, builder.getLoc("gate"), value.getType(), value, gate);
  }

  Value normalise(ForwardBuilder &builder, Value x) {
    OpBuilder &ops = builder.getBuilder();
    return UnitNormOp::create(ops, builder.getLoc("conv_norm"), x.getType(), x, ops.getF64FloatAttr(kNormEpsilon));
  }

  mega::KeyValues keys;
};

} // namespace

std::unique_ptr<BlockHooks> buildEngram(const mega::Feature &feature) { return std::make_unique<EngramHooks>(feature); }

} // namespace megacc::step
