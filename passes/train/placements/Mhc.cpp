// Hyper-connections (conventions 10.4 to 10.6). Blocks between placed ones read the mean of the streams and join all of them, as any block
// does (buildBlock).
#include "passes/train/Builders.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {
namespace {

class Mhc : public BlockHooks {
public:
  explicit Mhc(const mega::Feature &feature) : feature(feature) {}

  Value read(ForwardBuilder &builder, const Stream &stream) override {
    int64_t count = feature.keys.getInt("streams");
    OpBuilder &ops = builder.getBuilder();
    auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
    streams = stream.count == 1 && count > 1 ? builder.repeatGroups(stream.value, count, "streams") : stream.value;
    Value logits = builder.linear(streams, "proj"), bias = builder.read("bias", "bias");
    int64_t rows = getDim(streams, 0), cols = getDim(streams, 1) / count;
    auto read =
        MhcReadOp::create(ops, builder.getLoc("read"), builder.getType({rows, cols}), builder.getF32Type({rows, count * (count + 1)}),
                          streams, logits, bias, number(count), number(feature.keys.getInt("sinkhorn")), ops.getF64FloatAttr(kNormEpsilon));
    maps = read.getMaps();
    return read.getU();
  }

  std::optional<Stream> write(ForwardBuilder &builder, const Stream &stream, Value d) override {
    int64_t count = feature.keys.getInt("streams");
    OpBuilder &ops = builder.getBuilder();
    Value y = MhcWriteOp::create(ops, builder.getLoc("write"), streams.getType(), streams, d, maps, ops.getI64IntegerAttr(count));
    Stream next = {y, count};
    return isLast(builder) ? Stream{getMean(builder, next)} : next;
  }

private:
  /// Whether this is the last block that has the streams.
  bool isLast(ForwardBuilder &builder) const {
    for (const mega::Block &block : llvm::reverse(builder.getModel().blocks))
      if (block.find(feature.kind))
        return std::to_string(block.slot) == builder.getPlace();
    return true;
  }

  const mega::Feature &feature;
  Value streams, maps;
};

} // namespace

std::unique_ptr<BlockHooks> buildMhc(const mega::Feature &feature) { return std::make_unique<Mhc>(feature); }

} // namespace megacc::step
