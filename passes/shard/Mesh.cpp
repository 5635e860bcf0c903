#include "passes/shard/Mesh.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc::step {

Mesh getMesh(ModuleOp module) {
  Mesh mesh;
  auto config = module->getAttrOfType<DictionaryAttr>(kConfigAttr);
  auto axes = config ? config.getAs<DictionaryAttr>(kMeshKey) : DictionaryAttr();
  for (int64_t axis = 0; axes && axis < MG_AXIS_COUNT; ++axis)
    if (auto ranks = axes.getAs<IntegerAttr>(getAxisName(axis)))
      mesh.ranks[axis] = ranks.getInt();
  auto shares = axes ? axes.getAs<BoolAttr>("sequence_parallel") : BoolAttr();
  mesh.sequence_parallel = shares && shares.getValue() && mesh.ranks[MG_TP] > 1;
  return mesh;
}

std::vector<Sharding> getShardings(Operation *op, StringRef attribute, size_t count) {
  std::vector<Sharding> shardings(count);
  if (auto texts = op->getAttrOfType<ArrayAttr>(attribute))
    for (auto [sharding, text] : llvm::zip(shardings, texts.getAsValueRange<StringAttr>()))
      sharding = Sharding::parse(text).value_or(Sharding());
  return shardings;
}

void setShardings(Operation *op, StringRef attribute, ArrayRef<Sharding> shardings) {
  Builder builder(op->getContext());
  SmallVector<Attribute> texts;
  for (const Sharding &sharding : shardings)
    texts.push_back(builder.getStringAttr(sharding.str()));
  op->setDiscardableAttr(attribute, builder.getArrayAttr(texts));
}

Sharding getSharding(Value value) {
  auto result = cast<OpResult>(value);
  return getShardings(result.getOwner(), kShardingAttr, result.getOwner()->getNumResults())[result.getResultNumber()];
}

bool sharesTokens(const Mesh &mesh, const Sharding &sharding) {
  const Spread &spread = sharding.axes[MG_TP];
  return mesh.sequence_parallel && spread.kind == Share::Split && spread.dim == 0;
}

Sharding getSharding(ParameterOp parameter) { return Sharding::parse(parameter.getSharding().value_or("")).value_or(Sharding()); }

RankedTensorType getWholeType(ParameterOp parameter) {
  return cast<RankedTensorType>(parameter.getWhole() ? *parameter.getWhole() : parameter.getType());
}

ParameterOp findParameter(Operation *op, StringRef name) { return op->getParentOfType<ModuleOp>().lookupSymbol<ParameterOp>(name); }

} // namespace megacc::step
