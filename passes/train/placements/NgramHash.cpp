// Hashed n-gram embeddings (conventions section 11).
#include "dialects/Mega/placements/NgramHash.h"
#include "passes/train/Builders.h"

using namespace mlir;

namespace megacc::step {

Value buildNgramHash(ForwardBuilder &builder, const mega::Feature &feature, Value tokens) {
  const mega::KeyValues &keys = feature.keys;
  builder.setScope("ngram_hash", -1);
  OpBuilder &ops = builder.getBuilder();
  std::vector<int64_t> sizes = mega::ngramSizes(keys), orders;
  for (int64_t order : keys.getInts("orders"))
    orders.insert(orders.end(), keys.getInt("heads"), order);
  int64_t tables = sizes.size(), count = getCount(tokens);
  Value rows =
      NgramRowsOp::create(ops, builder.getLoc("rows"), builder.getI32Type({count, tables}), tokens, builder.getDocuments(),
                          ops.getDenseI64ArrayAttr(orders), ops.getDenseI64ArrayAttr(sizes), ops.getI64IntegerAttr(keys.getInt("seed")));
  Value table = builder.read("table.weight", "table");
  RankedTensorType type = builder.getType({count, tables * keys.getInt("dim")});
  Value found = EmbeddingOp::create(ops, builder.getLoc("table"), type, table, rows, ops.getI64IntegerAttr(-1), StringAttr());
  return builder.linear(found, "proj");
}

} // namespace megacc::step
