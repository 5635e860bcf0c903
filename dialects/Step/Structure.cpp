//===- Structure.cpp - functions, state, inputs and outputs ---------------===//
#include "dialects/Step/Step.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

LogicalResult ParameterOp::verify() {
  if (!llvm::is_contained({"constant", "normal", "uniform", "dt_bias", "a_log", "identity"}, getInit()))
    return emitOpError("'init' is \"") << getInit()
                                       << "\"; expected \"constant\", \"normal\", \"uniform\", \"dt_bias\", \"a_log\" or \"identity\"";
  return success();
}

/// The parameter must exist, with exactly this type.
static LogicalResult verifyParameter(Operation *op, FlatSymbolRefAttr name, Type type, SymbolTableCollection &symbols) {
  auto module = op->getParentOfType<ModuleOp>();
  auto parameter = module ? symbols.lookupSymbolIn<ParameterOp>(module, name) : ParameterOp();
  if (!parameter)
    return op->emitOpError("names no parameter: ") << name;
  if (parameter.getType() != type)
    return op->emitOpError("has type ") << type << ", but parameter " << name << " has " << parameter.getType();
  return success();
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameter(*this, getParameterAttr(), getValue().getType(), symbols);
}

LogicalResult AccumulateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameter(*this, getParameterAttr(), getGradient().getType(), symbols);
}

KernelQuery AccumulateOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_accumulate";
  query.addState(LaunchOperand::Kind::Gradient, getParameter());
  query.addOperand(0);
  query.ints = {getCount(getGradient()), 1};
  query.doubles = {1.0};
  query.accumulateIndex = 1;
  return query;
}

LogicalResult LossOp::verify() {
  if (getValues().empty() || !llvm::all_of(getValues(), [](Value value) { return getCount(value) == 1; }))
    return emitOpError("takes numbers, at least one");
  return success();
}

KernelQuery LossOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_accumulate_terms";
  query.addState(LaunchOperand::Kind::Metric, ("loss." + getName()).str(), 1);
  for (unsigned index = 0; index < getValues().size(); ++index)
    query.addOperand(index);
  query.ints = {int64_t(getValues().size()), 1};
  query.doubles = {1.0 / getConfigInteger(*this, "accumulate", 1)};
  query.accumulateIndex = 1;
  return query;
}

LogicalResult OutputOp::verify() {
  int64_t count = 1;
  for (int64_t size : getShape().value_or(ArrayRef<int64_t>()))
    count *= size;
  if (getShape() && count != getCount(getValue()))
    return emitOpError("has 'shape' of ") << count << " elements for a value of " << getCount(getValue());
  return success();
}

static KernelQuery getCopyQuery(LaunchOperand::Kind kind, StringRef name, Value value) {
  KernelQuery query;
  query.kernel = "mg_copy";
  query.addState(kind, name, getCount(value));
  query.addOperand(0);
  query.ints = {getCount(value)};
  return query;
}

KernelQuery OutputOp::getKernelQuery() { return getCopyQuery(LaunchOperand::Kind::Output, getName(), getValue()); }
KernelQuery SetMetricOp::getKernelQuery() { return getCopyQuery(LaunchOperand::Kind::Metric, getName(), getValue()); }

/// Elements of the trained parameters that `accepts`.
template <typename Accepts>
static int64_t countTrained(Operation *op, Accepts accepts) {
  int64_t count = 0;
  if (auto module = op->getParentOfType<ModuleOp>())
    for (auto parameter : module.getOps<ParameterOp>())
      if (parameter.getTrained() && accepts(parameter))
        count += cast<RankedTensorType>(parameter.getType()).getNumElements();
  return count;
}

LogicalResult AdamWOp::verify() {
  if (getGroup() != "decays" && getGroup() != "plain")
    return emitOpError("'group' is \"") << getGroup() << "\"; expected \"decays\" or \"plain\"";
  return success();
}

KernelQuery AdamWOp::getKernelQuery() {
  bool decays = getGroup() == "decays";
  KernelQuery query;
  query.kernel = "mg_adamw";
  std::string range = ("*" + getGroup()).str();
  for (auto kind : {LaunchOperand::Kind::Weight, LaunchOperand::Kind::FirstMoment, LaunchOperand::Kind::SecondMoment,
                    LaunchOperand::Kind::Gradient})
    query.addState(kind, range);
  query.addOperand(0);
  query.addOperand(1);
  query.ints = {countTrained(*this, [&](ParameterOp p) { return p.getDecays() == decays; }), decays};
  query.doubles = {getConfigDouble(*this, "beta1", 0.9), getConfigDouble(*this, "beta2", 0.95), getConfigDouble(*this, "eps", 1e-8),
                   getConfigDouble(*this, "decay"), getConfigDouble(*this, "clip")};
  return query;
}

KernelQuery GradientNormOp::getKernelQuery() {
  int64_t count = countTrained(*this, [](ParameterOp) { return true; });
  KernelQuery query;
  query.kernel = "mg_gradient_norm";
  query.addResult(0);
  query.addState(LaunchOperand::Kind::Gradient, "*trained");
  query.ints = {count};
  query.workspaceBytes = (count + 4095) / 4096 * 8;
  return query;
}

ShardingRule ZeroOp::getShardingRule() {
  static const char *const texts[] = {"() -> ([])", "() -> ([a])", "() -> ([a, b])", "() -> ([a, b, c])", "() -> ([a, b, c, d])"};
  return ShardingRule::get(texts[std::min<size_t>(4, cast<RankedTensorType>(getY().getType()).getRank())], {});
}

KernelQuery ZeroOp::getKernelQuery() {
  KernelQuery query;
  query.kernel = "mg_fill_zero";
  query.ints = {getCount(getY()), 0};
  query.accumulateIndex = 1;
  query.gradientResult = 0;
  return query;
}
