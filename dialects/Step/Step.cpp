// The dialect.
#include "dialects/Step/Step.h"

#include "dialects/Interfaces/Functions.h"
#include "dialects/Interfaces/Sharding.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <map>

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

#include "dialects/Step/StepDialect.cpp.inc"
#include "dialects/Step/StepEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Step/StepAttrs.cpp.inc"

void StepDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Step/StepAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Step/StepOps.cpp.inc"
      >();
}

static ModuleOp getModule(Operation *op) {
  auto module = dyn_cast<ModuleOp>(op);
  return module ? module : op->getParentOfType<ModuleOp>();
}

static Attribute getConfig(Operation *op, StringRef key) {
  ModuleOp module = getModule(op);
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

StringRef megacc::step::getConfigText(Operation *op, StringRef key, StringRef missing) {
  auto value = dyn_cast_or_null<StringAttr>(getConfig(op, key));
  return value ? value.getValue() : missing;
}

StringRef megacc::step::getTarget(Operation *op) {
  ModuleOp module = getModule(op);
  auto target = module ? module->getAttrOfType<StringAttr>(kTargetAttr) : StringAttr();
  return target ? target.getValue() : StringRef("cpu");
}

int64_t megacc::step::getBlock(Operation *op) {
  auto block = op->getAttrOfType<IntegerAttr>(kBlockAttr);
  return block ? block.getInt() : -1;
}

bool megacc::step::runsOnceAStep(FuncOp func) { return func.getSymName() == "update" || isIntervention(func.getSymName()); }

Phase megacc::step::getPhase(Operation *op) {
  auto phase = op->getAttrOfType<PhaseAttr>(kPhaseAttr);
  return phase ? phase.getValue() : Phase::forward;
}

bool megacc::step::hasGroup(ModuleOp module, Group group) {
  return llvm::any_of(module.getOps<ParameterOp>(), [&](ParameterOp parameter) { return parameter.getGroup() == group; });
}

int64_t megacc::step::getPaddedElements(ModuleOp module, Group group) {
  int64_t elements = 0;
  for (Sweep &sweep : getSweeps(module, group))
    elements += sweep.getElements();
  return elements;
}

int64_t Sweep::pad(int64_t elements) const { return llvm::alignTo(elements, kParameterAlignment * ranks); }

int64_t Sweep::getElements() {
  int64_t elements = 0;
  for (ParameterOp parameter : parameters)
    elements += llvm::alignTo(parameter.getElements(), kParameterAlignment);
  return pad(elements);
}

std::string Sweep::getName() const { return ("*" + stringifyGroup(group) + "." + Twine(owes)).str(); }

int64_t megacc::step::countRanks(ModuleOp module, int64_t axes) {
  int64_t ranks = 1;
  auto config = module->getAttrOfType<DictionaryAttr>(kConfigAttr);
  auto mesh = config ? config.getAs<DictionaryAttr>("mesh") : DictionaryAttr();
  for (int64_t axis = 0; mesh && axis < MG_AXIS_COUNT; ++axis)
    if (auto size = mesh.getAs<IntegerAttr>(getAxisName(axis)); size && (axes >> axis & 1))
      ranks *= size.getInt();
  return ranks;
}

SmallVector<Sweep> megacc::step::getSweeps(ModuleOp module, Group group) {
  std::map<int64_t, Sweep> sweeps; // by what they owe
  int64_t shared = getConfigInteger(module, "zero") ? 1 << MG_DP | 1 << MG_EP : 0;
  for (auto parameter : module.getOps<ParameterOp>())
    if (parameter.getGroup() == group)
      sweeps[int64_t(parameter.getOwes().value_or(0))].parameters.push_back(parameter);
  SmallVector<Sweep> list;
  for (auto &[owes, sweep] : sweeps) {
    sweep.group = group, sweep.owes = owes;
    for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
      if (int64_t bit = int64_t(1) << axis; (owes & shared & bit) && countRanks(module, bit) > 1)
        sweep.axes |= bit;
    sweep.ranks = countRanks(module, sweep.axes);
    list.push_back(std::move(sweep));
  }
  return list;
}

Sweep megacc::step::findSweep(ModuleOp module, Group group, int64_t owes) {
  if (module)
    for (Sweep &sweep : getSweeps(module, group))
      if (sweep.owes == owes)
        return sweep;
  Sweep none;
  none.group = group, none.owes = owes;
  return none;
}

int64_t megacc::step::getDim(Value value, unsigned dim) { return cast<RankedTensorType>(value.getType()).getDimSize(dim); }

int64_t megacc::step::getCount(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

Size megacc::step::getElements(Type type) {
  Size elements = 1;
  for (int64_t size : cast<RankedTensorType>(type).getShape())
    elements = elements * size;
  return elements;
}

int64_t megacc::step::getBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getNumElements() * (tensor.getElementTypeBitWidth() / 8);
}

RankedTensorType megacc::step::getF32Like(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return RankedTensorType::get(type.getShape(), Float32Type::get(type.getContext()));
}

LogicalResult megacc::step::expectShape(Operation *op, StringRef name, Value value, ArrayRef<int64_t> shape) {
  if (cast<RankedTensorType>(value.getType()).getShape() == shape)
    return success();
  InFlightDiagnostic error = op->emitOpError() << "'" << name << "' is " << value.getType() << ", expected ";
  llvm::interleave(shape, error, " x ");
  return error;
}

LogicalResult megacc::step::expectLike(Operation *op, StringRef name, Value value, Value other) {
  return expectShape(op, name, value, cast<RankedTensorType>(other.getType()).getShape());
}

LogicalResult megacc::step::verifyCaches(Operation *op, ArrayAttr cached, ValueRange caches) {
  size_t names = cached ? cached.size() : 0;
  if (names != caches.size())
    return op->emitOpError("names ") << names << " caches and has " << caches.size();
  llvm::DenseSet<Attribute> seen;
  for (Attribute name : cached ? cached.getValue() : ArrayRef<Attribute>())
    if (!seen.insert(name).second)
      return op->emitOpError("names the cache ") << name << " twice";
  return success();
}

void megacc::step::addCaches(KernelQuery &query, ArrayAttr cached, ValueRange caches) {
  for (auto [index, value] : llvm::enumerate(caches))
    query.add(cast<StringAttr>(cached[index]).getValue(), value);
}

void megacc::step::getFlagEffects(std::initializer_list<StringAttr> flags,
                                  SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (llvm::any_of(flags, [](StringAttr flag) { return bool(flag); }))
    effects.emplace_back(MemoryEffects::Write::get());
}

void megacc::step::markAccumulations(FuncOp func) {
  llvm::DenseSet<Attribute> seen;
  func.walk([&](AccumulateOp op) { op.setAdds(!seen.insert(op.getParameterAttr()).second); });
}

#define GET_OP_CLASSES
#include "dialects/Step/StepOps.cpp.inc"
