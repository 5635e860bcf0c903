// What moves between the ranks of a mesh.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

/// What a collective moves through memory; it is never run again.
static OpCost getCollectiveCost(Operation *op) {
  OpCost cost = getMemoryCost(op);
  cost.recomputable = false;
  return cost;
}

OpCost AllReduceOp::getCost() { return getCollectiveCost(*this); }
OpCost TakePartOp::getCost() { return getMemoryCost(*this); }
OpCost GatherPartsOp::getCost() { return getCollectiveCost(*this); }

KernelQuery AllReduceOp::getKernelQuery() {
  KernelQuery query(cast<RankedTensorType>(getX().getType()).getElementType().isF64() ? "all_reduce_f64" : "all_reduce");
  return query.add("y", getY()).add("x", getX()).set("count", getCount(getX())).set("ranks", getRanks()).set("axis", getAxis());
}

/// `part` has `ranks` times fewer elements than `whole` in dimension `dim`, and as many in the others.
static LogicalResult verifyParts(Operation *op, Value part, Value whole, int64_t dim, int64_t ranks) {
  auto type = cast<RankedTensorType>(part.getType());
  if (dim < 0 || dim >= type.getRank())
    return op->emitOpError("names dimension ") << dim << " of " << type;
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] *= ranks;
  return expectShape(op, "the whole", whole, shape);
}

LogicalResult TakePartOp::verify() { return verifyParts(*this, getY(), getX(), getDim(), getRanks()); }
LogicalResult GatherPartsOp::verify() { return verifyParts(*this, getX(), getY(), getDim(), getRanks()); }

/// Elements before and from the dimension of a part on.
static KernelQuery &setParts(KernelQuery &query, Value part, int64_t dim, int64_t ranks, int64_t axis) {
  int64_t outer = 1, inner = 1;
  for (auto [index, size] : llvm::enumerate(cast<RankedTensorType>(part.getType()).getShape()))
    (int64_t(index) < dim ? outer : inner) *= size;
  return query.set("outer", outer).set("inner", inner).set("ranks", ranks).set("axis", axis);
}

KernelQuery TakePartOp::getKernelQuery() {
  KernelQuery query("take_part");
  return setParts(query.add("y", getY()).add("x", getX()), getY(), getDim(), getRanks(), getAxis());
}

KernelQuery GatherPartsOp::getKernelQuery() {
  KernelQuery query("gather_parts");
  return setParts(query.add("y", getY()).add("x", getX()), getX(), getDim(), getRanks(), getAxis());
}

KernelQuery AllReduceStateOp::getKernelQuery() {
  KernelQuery query("all_reduce_state");
  auto kind = getKind() == StateKind::gradient ? LaunchOperand::Kind::Gradient : LaunchOperand::Kind::Metric;
  query.addState("x", kind, getName(), RankedTensorType::get({int64_t(getCount())}, Float32Type::get(getContext())));
  query.operands.back().first = getFirst();
  return query.set("count", getCount()).set("ranks", getRanks()).set("axis", getAxis());
}
