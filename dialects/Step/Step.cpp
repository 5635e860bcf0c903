//===- Step.cpp - the dialect ---------------------------------------------===//
#include "dialects/Step/Step.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace megacc::step;

#include "dialects/Step/StepDialect.cpp.inc"

void StepDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Step/StepOps.cpp.inc"
      >();
}

static Attribute getConfig(Operation *op, StringRef key) {
  auto module = dyn_cast<ModuleOp>(op);
  if (!module)
    module = op->getParentOfType<ModuleOp>();
  auto config = module ? module->getAttrOfType<DictionaryAttr>(kConfigAttr) : DictionaryAttr();
  return config ? config.get(key) : Attribute();
}

int64_t megacc::step::getConfigInteger(Operation *op, StringRef key, int64_t missing) {
  auto value = dyn_cast_or_null<IntegerAttr>(getConfig(op, key));
  return value ? value.getInt() : missing;
}

double megacc::step::getConfigDouble(Operation *op, StringRef key, double missing) {
  auto value = dyn_cast_or_null<FloatAttr>(getConfig(op, key));
  return value ? value.getValueAsDouble() : missing;
}

void megacc::step::addValues(KernelQuery &query, Operation *op, bool lastIsAbsent) {
  for (unsigned index = 0; index < op->getNumResults(); ++index)
    query.addResult(index);
  for (unsigned index = 0; index < op->getNumOperands(); ++index)
    query.addOperand(index);
  if (lastIsAbsent)
    query.addNull();
}

int64_t megacc::step::getDim(Value value, unsigned dim) { return cast<RankedTensorType>(value.getType()).getDimSize(dim); }

int64_t megacc::step::getCount(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

#define GET_OP_CLASSES
#include "dialects/Step/StepOps.cpp.inc"
