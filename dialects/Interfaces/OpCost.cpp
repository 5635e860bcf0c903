// What one execution of an op costs.
#include "dialects/Interfaces/OpCost.h"
#include "dialects/Interfaces/StepInterfaces.h"

using namespace mlir;

namespace megacc {

static int64_t getBytes(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() || !tensor.getElementType().isIntOrFloat())
    return 0;
  return tensor.getNumElements() * ((tensor.getElementTypeBitWidth() + 7) / 8);
}

OpCost getMemoryCost(Operation *op) {
  OpCost cost;
  for (Type type : op->getOperandTypes())
    cost.bytesRead += getBytes(type);
  for (Type type : op->getResultTypes())
    cost.bytesWritten += getBytes(type);
  return cost;
}

OpCost getCost(Operation *op) {
  auto costs = dyn_cast<step::CostOpInterface>(op);
  return costs ? costs.getCost() : getMemoryCost(op);
}

} // namespace megacc
