// Mixture of depths (conventions 10.7 and 10.8).
#include "passes/train/Builders.h"

#include <algorithm>

using namespace mlir;

namespace megacc::step {
namespace {

class Mod : public BlockHooks {
public:
  explicit Mod(const mega::Feature &feature) : feature(feature) {}

  Value before(ForwardBuilder &builder, Value x) override {
    OpBuilder &ops = builder.getBuilder();
    int64_t batch = builder.getBatch(), length = builder.getLength(x);
    int64_t keep = std::max<int64_t>(1, int64_t(double(length) * feature.keys.getFloat("capacity")));
    logits = builder.linear(x, "router");
    position = ModSelectOp::create(ops, builder.getLoc("select"), builder.getI32Type({batch, length}), logits, ops.getI64IntegerAttr(keep));
    if (builder.isTraining()) {
      Value loss = ModLossOp::create(ops, builder.getLoc("loss"), builder.getF32Type({1}), logits, position,
                                     ops.getI64IntegerAttr(batch * length), ops.getF64FloatAttr(feature.keys.getFloat("aux")));
      builder.addLossTerm("mod_aux", loss);
    }
    whole = cast<RankedTensorType>(x.getType());
    return ModTakeOp::create(ops, builder.getLoc("take"), whole.clone({batch * keep, getDim(x, 1)}), x, position);
  }

  Value after(ForwardBuilder &builder, Value d) override {
    return ModPutOp::create(builder.getBuilder(), builder.getLoc("put"), whole, d, logits, position);
  }

private:
  const mega::Feature &feature;
  RankedTensorType whole;
  Value logits, position;
};

} // namespace

std::unique_ptr<BlockHooks> buildMod(const mega::Feature &feature) { return std::make_unique<Mod>(feature); }

} // namespace megacc::step
