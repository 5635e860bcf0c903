// A bias of attention's scores by the relations between the chunks of query and key (conventions 6.10).
#include "passes/train/Builders.h"

#include <cmath>

using namespace mlir;

namespace megacc::step {
namespace {

/// The two inputs, for all blocks that read them (ForwardBuilder::getKept).
constexpr char kInputs[] = "relation.inputs";

class RelationBias : public BlockHooks {
public:
  explicit RelationBias(const mega::Feature &feature) : keys(feature.keys) {}

  Value before(ForwardBuilder &builder, Value x) override {
    weight = builder.read("weight", "weight"); // of this scope, which is not that of the mixer
    return x;
  }

  /// In place of attention from q, k, v.
  Value inside(ForwardBuilder &builder, StringRef point, ValueRange values) override {
    if (point != "scores")
      return {};
    Value q = values[0], k = values[1], v = values[2];
    OpBuilder &ops = builder.getBuilder();
    const mega::KeyValues &family = builder.getBlock().keys;
    int64_t heads = family.getInt("heads"), kvHeads = family.has("kv_heads") ? family.getInt("kv_heads") : heads;
    int64_t dim = getDim(q, 1) / heads, value = getDim(v, 1) / kvHeads;
    SmallVector<Value> inputs = getInputs(builder);
    auto number = [&](int64_t size) { return ops.getI64IntegerAttr(size); };
    return BiasedAttentionOp::create(ops, builder.getLoc("attention"), builder.getType({getDim(q, 0), heads * value}), TypeRange(), q, k, v,
                                     weight, inputs[0], inputs[1], builder.getDocuments(), number(builder.getBatch()),
                                     number(builder.getLength(q)), number(heads), number(kvHeads), number(dim), number(value),
                                     ops.getF64FloatAttr(1.0 / std::sqrt(double(dim))), ArrayAttr())
        .getY();
  }

private:
  SmallVector<Value> getInputs(ForwardBuilder &builder) {
    SmallVector<Value> inputs = builder.getKept(kInputs);
    if (!inputs.empty())
      return inputs;
    int64_t chunks = keys.getInt("chunks");
    inputs = {builder.input("relation.chunk", {builder.getBatch(), builder.getSequence()}),
              builder.input("relation.bits", {builder.getBatch(), chunks, chunks})};
    builder.keep(kInputs, inputs);
    return inputs;
  }

  mega::KeyValues keys;
  Value weight;
};

} // namespace

std::unique_ptr<BlockHooks> buildRelationBias(const mega::Feature &feature) { return std::make_unique<RelationBias>(feature); }

} // namespace megacc::step
