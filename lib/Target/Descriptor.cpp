#include "lib/Target/Descriptor.h"

#include "dialects/Interfaces/OpPath.h"
#include "dialects/Interfaces/Sharding.h"
#include "dialects/Rt/Rt.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace json = llvm::json;

namespace megacc {

std::string getEntrySymbol(StringRef function) { return ("megacc_" + function).str(); }

static json::Value toJson(Attribute attribute) {
  if (auto flag = dyn_cast<BoolAttr>(attribute))
    return flag.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    return integer.getInt();
  if (auto number = dyn_cast<FloatAttr>(attribute))
    return number.getValueAsDouble();
  if (auto text = dyn_cast<StringAttr>(attribute))
    return text.str();
  if (auto array = dyn_cast<ArrayAttr>(attribute))
    return json::Array(llvm::map_range(array, toJson));
  json::Object object;
  for (NamedAttribute entry : cast<DictionaryAttr>(attribute))
    object[entry.getName().strref()] = toJson(entry.getValue());
  return object;
}

static void addType(json::Object &object, Type type) {
  auto tensor = cast<RankedTensorType>(type);
  object["dtype"] = rt::getTypeName(rt::getMgType(tensor.getElementType()));
  object["shape"] = json::Array(tensor.getShape());
}

static void addRange(json::Object &object, rt::RangeAttr range) {
  object["offset"] = range.getOffset();
  object["stride"] = range.getStride();
}

/// For every dimension its pieces, [axis, size, block]: every rank has all of those of axis -1, and an equal part of every block of others.
static json::Array describePieces(StringRef text, RankedTensorType whole) {
  Sharding sharding = *Sharding::parse(text);
  json::Array dimensions;
  for (auto [dim, size] : llvm::enumerate(whole.getShape())) {
    json::Array pieces;
    for (auto [axis, spread] : llvm::enumerate(sharding.axes))
      if (spread.kind == Share::Split && spread.dim == dim)
        for (const Piece &piece : spread.pieces)
          pieces.push_back(json::Array{piece.share == Share::Split ? int64_t(axis) : -1, piece.size, piece.block});
    if (pieces.empty())
      pieces.push_back(json::Array{-1, size, size});
    dimensions.push_back(std::move(pieces));
  }
  return dimensions;
}

static json::Object describe(rt::ParameterOp op) {
  json::Object object{{"name", op.getName()},     {"init", op.getInit()},       {"init_a", op.getInitA().convertToDouble()},
                      {"decays", op.getDecays()}, {"trained", op.getTrained()}, {"block", int64_t(op.getBlock())}};
  addType(object, op.getWhole().value_or(op.getType()));
  if (std::optional<StringRef> sharding = op.getSharding())
    object["pieces"] = describePieces(*sharding, cast<RankedTensorType>(*op.getWhole()));
  object["offset"] = op.getWeight().getOffset();
  auto addPlace = [&](StringRef key, std::optional<rt::RangeAttr> range) {
    if (range)
      object[key] = range->getOffset();
  };
  addPlace("gradient", op.getGradient());
  addPlace("master", op.getMaster());
  addPlace("m", op.getFirstMoment());
  addPlace("v", op.getSecondMoment());
  if (std::optional<ArrayRef<int64_t>> swept = op.getSwept())
    object["swept"] = json::Array{(*swept)[0], (*swept)[1], (*swept)[2]};
  return object;
}

static json::Object describe(rt::InputOp op) {
  json::Object object{{"name", op.getName()}};
  addType(object, op.getType());
  addRange(object, op.getRange());
  return object;
}

static json::Object describe(rt::MetricOp op) {
  json::Object object{{"name", op.getName()}, {"weight", op.getWeight().convertToDouble()}};
  addType(object, op.getType());
  addRange(object, op.getRange());
  return object;
}

static json::Object describe(rt::OutputOp op) {
  json::Object object{{"name", op.getName()}, {"function", op.getFunction()}};
  addType(object, op.getType());
  addRange(object, op.getRange());
  return object;
}

static json::Object describe(rt::CallOp op) {
  return json::Object{{"kernel", op.getKernel()},
                      {"block", int64_t(op.getBlock())},
                      {"path", getPath(op)},
                      {"flops", int64_t(op.getFlops())},
                      {"bytes", int64_t(op.getMovedBytes())}};
}

static json::Object describe(rt::FuncOp op) {
  json::Array launches;
  for (auto call : op.getBody().getOps<rt::CallOp>())
    launches.push_back(describe(call));
  return json::Object{{"name", op.getSymName()}, {"symbol", getEntrySymbol(op.getSymName())}, {"launches", std::move(launches)}};
}

static json::Array describeSegments(ModuleOp module) {
  json::Array array;
  for (int64_t segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    int64_t bytes = 0;
    for (auto op : module.getOps<rt::SegmentOp>())
      if (op.getName() == rt::getSegmentName(segment))
        bytes = op.getBytes();
    array.push_back(json::Object{{"name", rt::getSegmentName(segment)}, {"bytes", bytes}});
  }
  return array;
}

template <typename Op, typename Range> static json::Array describeAll(Range ops) {
  json::Array array;
  for (Op op : ops)
    array.push_back(describe(op));
  return array;
}

std::string buildDescriptor(ModuleOp module) {
  json::Object root;
  if (auto config = module->getAttrOfType<DictionaryAttr>("megacc.config"))
    root = std::move(*toJson(config).getAsObject());
  // A run's defaults of the optimizer stand together.
  json::Object optimizer;
  for (auto [key, name] : {std::pair("lr", "lr"),
                           {"beta1", "beta1"},
                           {"beta2", "beta2"},
                           {"eps", "eps"},
                           {"decay", "decay"},
                           {"schedule", "schedule"},
                           {"warmup", "warmup"},
                           {"schedule_steps", "steps"},
                           {"final", "final"},
                           {"momentum", "momentum"},
                           {"nesterov", "nesterov"},
                           {"iterations", "iterations"},
                           {"rms", "rms"},
                           {"split", "split"},
                           {"except", "except"}})
    if (json::Value *value = root.get(key)) {
      optimizer[name] = std::move(*value);
      root.erase(key);
    }
  if (root.getString("optimizer") == "muon")
    optimizer["kind"] = "muon";
  root["optimizer"] = std::move(optimizer);
  root["abi"] = MEGACC_ABI_VERSION;
  root["megacc"] = MEGACC_VERSION;
  auto target = module->getAttrOfType<StringAttr>("megacc.target");
  root["target"] = target ? target.str() : "cpu";
  if (auto model = module->getAttrOfType<StringAttr>("megacc.model"))
    root["model"] = model.str();
  json::Value &mesh = root.try_emplace("mesh", json::Object()).first->second;
  for (StringRef axis : {"dp", "tp", "ep"})
    mesh.getAsObject()->try_emplace(axis, 1);
  if (auto declaration = module->getAttrOfType<DictionaryAttr>("megacc.declaration"))
    root["declaration"] = toJson(declaration);
  root["segments"] = describeSegments(module);
  root["parameters"] = describeAll<rt::ParameterOp>(module.getOps<rt::ParameterOp>());
  root["inputs"] = describeAll<rt::InputOp>(module.getOps<rt::InputOp>());
  root["metrics"] = describeAll<rt::MetricOp>(module.getOps<rt::MetricOp>());
  root["outputs"] = describeAll<rt::OutputOp>(module.getOps<rt::OutputOp>());
  root["functions"] = describeAll<rt::FuncOp>(module.getOps<rt::FuncOp>());
  json::Object kernels;
  module.walk([&](rt::CallOp call) { kernels[call.getKernel()] = rt::findKernel(call.getKernel())->signature; });
  root["kernels"] = std::move(kernels);
  if (auto receipt = module->getAttrOfType<ArrayAttr>("megacc.receipt"))
    root["receipt"] = toJson(receipt);
  std::string text;
  llvm::raw_string_ostream(text) << json::Value(std::move(root));
  return text;
}

} // namespace megacc
