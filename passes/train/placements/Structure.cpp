// Embeddings of where a token stands in its syntax tree (conventions 11.5).
#include "dialects/Mega/placements/Structure.h"
#include "passes/train/Builders.h"

using namespace mlir;

namespace megacc::step {

Value buildStructure(ForwardBuilder &builder, const mega::Feature &feature, Value tokens) {
  const mega::KeyValues &keys = feature.keys;
  OpBuilder &ops = builder.getBuilder();
  SmallVector<Value> components;
  std::vector<int64_t> sizes;
  builder.setScope("structure", -1);
  for (const mega::Component &component : mega::structureComponents(keys)) {
    components.push_back(builder.input("structure." + component.name.str(), {builder.getBatch(), builder.getSequence()}));
    sizes.push_back(component.size);
  }
  int64_t parts = sizes.size(), count = getCount(tokens), dim = keys.getInt("dim");
  Value rows =
      ComponentRowsOp::create(ops, builder.getLoc("rows"), builder.getI32Type({count, parts}), components, ops.getDenseI64ArrayAttr(sizes));
  Value found = EmbeddingOp::create(ops, builder.getLoc("table"), builder.getType({count, parts * dim}),
                                    builder.read("table.weight", "table"), rows, ops.getI64IntegerAttr(-1), StringAttr());
  Value sum = WeightedPartsOp::create(ops, builder.getLoc("scale"), builder.getType({count, dim}), found, builder.read("scale", "scale"));
  return builder.linear(sum, "proj");
}

} // namespace megacc::step
