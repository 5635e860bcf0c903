//===- Rt.cpp - launches over a planned arena -----------------------------===//
#include "dialects/Rt/Rt.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace megacc::rt;

#include "dialects/Rt/RtDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Rt/RtAttrs.cpp.inc"

void RtDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Rt/RtAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Rt/RtOps.cpp.inc"
      >();
}

static const StringRef kSegments[MG_SEGMENT_COUNT] = {"weights", "optimizer", "gradients", "temporaries", "io"};

StringRef megacc::rt::getSegmentName(int64_t segment) { return kSegments[segment]; }

StringRef megacc::rt::getPath(Operation *op) {
  auto name = op->getLoc()->findInstanceOf<NameLoc>();
  return name ? name.getName().strref() : StringRef();
}

//===- ranges -------------------------------------------------------------===//

LogicalResult RangeAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t segment, int64_t offset, int64_t bytes, int64_t stride,
                                int64_t value) {
  if (segment < 0 || segment >= MG_SEGMENT_COUNT)
    return emitError() << "segment " << segment << " does not exist";
  if (offset < 0 || bytes < 0 || stride < 0)
    return emitError() << "offset " << offset << ", bytes " << bytes << " and stride " << stride << " may not be negative";
  return success();
}

static void printRange(AsmPrinter &printer, RangeAttr range) {
  printer << getSegmentName(range.getSegment()) << '[' << range.getOffset() << " : " << range.getBytes();
  if (range.getStride())
    printer << " + " << range.getStride() << " m";
  printer << ']';
  if (range.getValue() >= 0)
    printer << " value " << range.getValue();
}

static ParseResult parseRange(AsmParser &parser, RangeAttr &range) {
  StringRef name;
  int64_t offset = 0, bytes = 0, stride = 0, value = -1;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  const auto *found = llvm::find(kSegments, name);
  if (found == std::end(kSegments))
    return parser.emitError(loc, "unknown segment \"") << name << "\"; expected weights, optimizer, gradients, temporaries or io";
  if (parser.parseLSquare() || parser.parseInteger(offset) || parser.parseColon() || parser.parseInteger(bytes))
    return failure();
  if (succeeded(parser.parseOptionalPlus()) && (parser.parseInteger(stride) || parser.parseKeyword("m")))
    return failure();
  if (parser.parseRSquare())
    return failure();
  if (succeeded(parser.parseOptionalKeyword("value")) && parser.parseInteger(value))
    return failure();
  range = parser.getChecked<RangeAttr>(loc, parser.getContext(), int64_t(found - std::begin(kSegments)), offset, bytes, stride, value);
  return success(bool(range));
}

void RangeAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printRange(printer, *this);
  printer << '>';
}

Attribute RangeAttr::parse(AsmParser &parser, Type) {
  RangeAttr range;
  if (parser.parseLess() || parseRange(parser, range) || parser.parseGreater())
    return {};
  return range;
}

//===- segments and launches ----------------------------------------------===//

LogicalResult SegmentOp::verify() {
  if (!llvm::is_contained(kSegments, getName()))
    return emitOpError("\"") << getName() << "\" is no segment; expected weights, optimizer, gradients, temporaries or io";
  return success();
}

void CallOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getKernel());
  printer << '(';
  const Kernel *kernel = findKernel(getKernel());
  SmallVector<Role> roles = kernel->getRoles(getInts());
  llvm::interleaveComma(llvm::zip(roles, getRanges()), printer, [&](auto pair) {
    auto [role, range] = pair;
    if (auto bytes = dyn_cast<RangeAttr>(range)) {
      printer << getRoleName(role) << ' ';
      printRange(printer, bytes);
    } else {
      printer << "null";
    }
  });
  printer << ") {";
  ArrayRef<int64_t> values = getInts();
  llvm::interleaveComma(kernel->ints, printer, [&](StringRef name) {
    bool repeats = kernel->repeatsInt && name == kernel->ints.back();
    ArrayRef<int64_t> own = repeats ? values : values.take_front(1);
    printer << name << (repeats ? " = [" : " = ");
    llvm::interleaveComma(own, printer);
    printer << (repeats ? "]" : "");
    values = values.drop_front(own.size());
  });
  if (!kernel->ints.empty() && !kernel->doubles.empty())
    printer << ", ";
  llvm::interleaveComma(llvm::zip(kernel->doubles, getDoubles()), printer, [&](auto pair) {
    printer << std::get<0>(pair) << " = ";
    printer.printAttributeWithoutType(FloatAttr::get(Float64Type::get(getContext()), std::get<1>(pair)));
  });
  printer << "} block " << int64_t(getBlock()) << " cost " << int64_t(getFlops()) << ' ' << int64_t(getMovedBytes());
  printer.printOptionalAttrDict((*this)->getAttrs(), {"kernel", "ranges", "ints", "doubles", "block", "flops", "moved_bytes"});
}

ParseResult CallOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  StringAttr symbol;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseSymbolName(symbol))
    return failure();
  const Kernel *kernel = findKernel(symbol);
  if (!kernel)
    return parser.emitError(loc, "unknown kernel \"") << symbol.strref() << "\"; kernels.def lists them all";
  SmallVector<Attribute> ranges;
  SmallVector<std::pair<SMLoc, std::string>> roles;
  auto parseOperand = [&]() -> ParseResult {
    SMLoc at = parser.getCurrentLocation();
    StringRef role;
    if (parser.parseKeyword(&role))
      return failure();
    roles.push_back({at, role.str()});
    RangeAttr range;
    if (role != "null" && parseRange(parser, range))
      return failure();
    ranges.push_back(role == "null" ? Attribute(builder.getUnitAttr()) : Attribute(range));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOperand) || parser.parseLBrace())
    return failure();
  SmallVector<int64_t> ints;
  SmallVector<double> doubles(kernel->doubles.size());
  bool first = true;
  auto parseName = [&](StringRef name) -> ParseResult {
    if (!first && parser.parseComma())
      return failure();
    first = false;
    return failure(parser.parseKeyword(name) || parser.parseEqual());
  };
  auto parseInt = [&]() { return parser.parseInteger(ints.emplace_back()); };
  for (auto [index, name] : llvm::enumerate(kernel->ints)) {
    bool repeats = kernel->repeatsInt && index + 1 == kernel->ints.size();
    if (parseName(name) || (repeats ? parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseInt) : parseInt()))
      return failure();
  }
  for (auto [name, value] : llvm::zip(kernel->doubles, doubles))
    if (parseName(name) || parser.parseFloat(value))
      return failure();
  int64_t block = -1, flops = 0, bytes = 0;
  if (parser.parseRBrace() || parser.parseKeyword("block") || parser.parseInteger(block) || parser.parseKeyword("cost") ||
      parser.parseInteger(flops) || parser.parseInteger(bytes) || parser.parseOptionalAttrDict(result.attributes))
    return failure();
  for (auto [role, expected] : llvm::zip(roles, kernel->getRoles(ints)))
    if (role.second != "null" && role.second != getRoleName(expected))
      return parser.emitError(role.first, "operand is \"") << role.second << "\", expected \"" << getRoleName(expected) << "\"";
  auto &properties = result.getOrAddProperties<Properties>();
  properties.kernel = symbol;
  properties.ranges = builder.getArrayAttr(ranges);
  properties.ints = builder.getDenseI64ArrayAttr(ints);
  properties.doubles = builder.getDenseF64ArrayAttr(doubles);
  properties.block = builder.getI64IntegerAttr(block);
  properties.flops = builder.getI64IntegerAttr(flops);
  properties.moved_bytes = builder.getI64IntegerAttr(bytes);
  return success();
}

LogicalResult CallOp::verify() {
  const Kernel *kernel = findKernel(getKernel());
  if (!kernel)
    return emitOpError("names no kernel of kernels.def: ") << getKernel();
  bool fits = kernel->repeatsInt ? getInts().size() + 1 >= kernel->ints.size() : getInts().size() == kernel->ints.size();
  if (!fits || getDoubles().size() != kernel->doubles.size())
    return emitOpError("has ") << getInts().size() << " integers and " << getDoubles().size() << " numbers, but " << getKernel() << " takes "
                               << kernel->ints.size() << " and " << kernel->doubles.size();
  SmallVector<Role> roles = kernel->getRoles(getInts());
  if (roles.size() != getRanges().size())
    return emitOpError("has ") << getRanges().size() << " operands, but " << getKernel() << " takes " << roles.size();
  for (auto [role, range] : llvm::zip(roles, getRanges()))
    if (!isa<RangeAttr>(range) && role != Role::Optional && role != Role::OptionalOut)
      return emitOpError("lacks an operand that is not optional");
  return success();
}

SmallVector<Access> megacc::rt::getAccesses(CallOp call) {
  const Kernel *kernel = findKernel(call.getKernel());
  int accumulate = kernel->findInt("accumulate");
  bool adds = accumulate >= 0 && call.getInts()[accumulate];
  SmallVector<Access> accesses;
  for (auto [role, range] : llvm::zip(kernel->getRoles(call.getInts()), call.getRanges()))
    if (auto bytes = dyn_cast<RangeAttr>(range)) {
      bool writes = role == Role::Out || role == Role::InOut || role == Role::OptionalOut || role == Role::Workspace;
      bool state = bytes.getSegment() != MG_TEMPORARIES;
      accesses.push_back({bytes, role == Role::In || role == Role::InOut || role == Role::Optional || (writes && adds && state), writes});
    }
  return accesses;
}

#define GET_OP_CLASSES
#include "dialects/Rt/RtOps.cpp.inc"
