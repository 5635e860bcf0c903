// One residual block, and where placements join it.
#include "passes/train/BlockBuilder.h"
#include "passes/train/Builders.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {

Value getMean(ForwardBuilder &builder, const Stream &stream) {
  return stream.count == 1 ? stream.value : builder.sumGroups(stream.value, stream.count, 1.0 / double(stream.count), "mean");
}

Stream buildBlock(ForwardBuilder &builder, const mega::Block &block, StringRef name, const Stream &stream, ArrayRef<PlacedHooks> placed) {
  auto setScope = [&](StringRef part) { builder.setScope(part.empty() ? name.str() : (name + "." + part).str(), block.slot); };

  Value x;
  for (const PlacedHooks &placement : placed) {
    setScope(placement.kind);
    if (Value read = placement.hooks->read(builder, stream))
      x = read;
  }
  setScope("");
  if (!x)
    x = getMean(builder, stream);
  for (const PlacedHooks &placement : placed) {
    setScope(placement.kind);
    x = placement.hooks->before(builder, x);
  }

  setScope("");
  if (builder.isTraining() && !stream.source.empty())
    builder.watch(stream.source);
  Value n = builder.norm(x, "norm");

  setScope("mixer");
  builder.setInside([&](StringRef point, ValueRange values) {
    for (const PlacedHooks &placement : placed)
      if (Value replaced = placement.hooks->inside(builder, point, values))
        return replaced;
    return Value();
  });
  for (const PlacedHooks &placement : placed)
    if (double share = placement.hooks->getUnturned())
      builder.setUnturned(share);
  Value d = findFamilyBuilder(block.kind)(builder, block.keys, n);
  builder.setInside(nullptr);
  builder.setUnturned(0);

  for (const PlacedHooks &placement : placed) {
    setScope(placement.kind);
    Value more = placement.hooks->beside(builder, n);
    setScope("");
    if (more)
      d = builder.add(d, more, placement.kind);
  }
  for (const PlacedHooks &placement : llvm::reverse(placed)) {
    setScope(placement.kind);
    d = placement.hooks->after(builder, d);
  }
  setScope("");
  if (builder.getModel().layer_scale != 0)
    d = builder.scale(d, "layer_scale");

  std::optional<Stream> next;
  for (const PlacedHooks &placement : placed) {
    setScope(placement.kind);
    if (auto written = placement.hooks->write(builder, stream, d))
      next = *written;
  }
  setScope("");
  if (!next) {
    Value every = stream.count == 1 ? d : builder.repeatGroups(d, stream.count, "streams");
    next = {builder.add(stream.value, every, "residual"), stream.count};
  }
  next->source = name.str();
  builder.keep(name, getMean(builder, *next));
  return *next;
}

Stream buildBlock(ForwardBuilder &builder, const mega::Block &block, StringRef name, const Stream &stream) {
  SmallVector<PlacedHooks> placed;
  for (const mega::Feature &feature : block.features)
    placed.push_back({feature.kind, findPlacementBuilder(feature.kind)->block(feature)});
  return buildBlock(builder, block, name, stream, placed);
}

} // namespace megacc::step
