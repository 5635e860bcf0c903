// Launches over a planned arena.
#include "dialects/Rt/Rt.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

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

static const StringRef kSegments[MG_SEGMENT_COUNT] = {"weights", "optimizer", "gradients", "temporaries", "io", "constants"};
static const char *const kExpectedSegments = "expected weights, optimizer, gradients, temporaries, io or constants";

StringRef megacc::rt::getSegmentName(int64_t segment) { return kSegments[segment]; }

int64_t megacc::rt::getMgType(Type element) {
  return llvm::TypeSwitch<Type, int64_t>(element)
      .Case<Float32Type>([](Type) { return MG_F32; })
      .Case<BFloat16Type>([](Type) { return MG_BF16; })
      .Case<Float64Type>([](Type) { return MG_F64; })
      .Case<IntegerType>([](IntegerType type) { return type.isInteger(32)   ? MG_I32
                                                       : type.isInteger(64) ? MG_I64
                                                                            : MG_RAW; })
      .Default([](Type) { return MG_RAW; });
}

// Ranges.

LogicalResult RangeAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t segment, int64_t offset, int64_t bytes,
                                int64_t stride, int64_t value, int64_t type) {
  if (segment < 0 || segment >= MG_SEGMENT_COUNT)
    return emitError() << "segment " << segment << " does not exist";
  if (offset < 0 || bytes < 0 || stride < 0)
    return emitError() << "offset " << offset << ", bytes " << bytes << " and stride " << stride << " may not be negative";
  if (bytes > std::numeric_limits<int64_t>::max() - offset)
    return emitError() << "offset " << offset << " and bytes " << bytes << " are too large";
  if (type < 0 || type >= MG_ABSENT)
    return emitError() << "type " << type << " does not exist";
  int64_t width = getTypeWidth(type);
  if (offset % width || bytes % width || stride % width)
    return emitError() << "offset " << offset << ", bytes " << bytes << " and stride " << stride << " must be multiples of the " << width
                       << " bytes of " << getTypeName(type);
  return success();
}

static void printRange(AsmPrinter &printer, RangeAttr range) {
  printer << getSegmentName(range.getSegment()) << '[' << range.getOffset() << " : " << range.getBytes();
  if (range.getStride())
    printer << " + " << range.getStride() << " m";
  printer << ']';
  if (range.getType() != MG_F32)
    printer << ' ' << getTypeName(range.getType());
  if (range.getValue() >= 0)
    printer << " value " << range.getValue();
}

static ParseResult parseRange(AsmParser &parser, RangeAttr &range) {
  StringRef name, type = getTypeName(MG_F32);
  int64_t offset = 0, bytes = 0, stride = 0, value = -1;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  const auto *found = llvm::find(kSegments, name);
  if (found == std::end(kSegments))
    return parser.emitError(loc, "unknown segment \"") << name << "\"; " << kExpectedSegments;
  if (parser.parseLSquare() || parser.parseInteger(offset) || parser.parseColon() || parser.parseInteger(bytes))
    return failure();
  if (succeeded(parser.parseOptionalPlus()) && (parser.parseInteger(stride) || parser.parseKeyword("m")))
    return failure();
  if (parser.parseRSquare())
    return failure();
  (void)parser.parseOptionalKeyword(&type, getTypeNames());
  if (succeeded(parser.parseOptionalKeyword("value")) && parser.parseInteger(value))
    return failure();
  range = parser.getChecked<RangeAttr>(loc, parser.getContext(), int64_t(found - std::begin(kSegments)), offset, bytes, stride, value,
                                       int64_t(llvm::find(getTypeNames(), type) - getTypeNames().begin()));
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

// State.

/// A range holds exactly a tensor of this type, in this segment.
static LogicalResult checkPlace(Operation *op, StringRef name, Type type, RangeAttr range, int64_t segment) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  int64_t code = tensor ? getMgType(tensor.getElementType()) : MG_RAW;
  if (code == MG_RAW || !tensor.hasStaticShape())
    return op->emitOpError("has type ") << type << ", expected a tensor of static shape of f32, bf16, f64, i32 or i64";
  int64_t bytes = tensor.getNumElements() * getTypeWidth(code);
  if (range.getSegment() != segment || range.getBytes() != bytes || range.getType() != code)
    return op->emitOpError() << name << " is at " << range << ", expected " << bytes << " bytes of " << getTypeName(code) << " in "
                             << getSegmentName(segment);
  return success();
}

LogicalResult SegmentOp::verify() {
  if (!llvm::is_contained(kSegments, getName()))
    return emitOpError("\"") << getName() << "\" is not a segment; " << kExpectedSegments;
  if (int64_t bytes = getBytes(); bytes < 0)
    return emitOpError("\"") << getName() << "\" has " << bytes << " bytes, it must be at least 0";
  return success();
}

LogicalResult ParameterOp::verify() {
  if (failed(checkPlace(*this, "weight", getType(), getWeight(), MG_WEIGHTS)))
    return failure();
  auto tensor = cast<RankedTensorType>(getType());
  if (!tensor.getElementType().isF32() && !tensor.getElementType().isBF16())
    return emitOpError("has elements of ") << tensor.getElementType() << ", expected f32 or bf16";
  if (getMaster() && !tensor.getElementType().isBF16())
    return emitOpError("of f32 has a master; only a bf16 parameter has one");
  RankedTensorType full = tensor.clone(Float32Type::get(getContext())), half = tensor.clone(BFloat16Type::get(getContext()));
  auto check = [&](StringRef name, std::optional<RangeAttr> range, int64_t segment) {
    bool isHalf = range && name.ends_with("moment") && range->getType() == MG_BF16;
    if (range && getSwept() && segment == MG_OPTIMIZER) { // of the rank's part of all that is swept
      int64_t part = range->getBytes() / (isHalf ? 2 : 4);
      return checkPlace(*this, name, RankedTensorType::get({part}, isHalf ? half.getElementType() : full.getElementType()), *range,
                        segment);
    }
    return range ? checkPlace(*this, name, isHalf ? half : full, *range, segment) : success();
  };
  return success(succeeded(check("gradient", getGradient(), MG_GRADIENTS)) && succeeded(check("master", getMaster(), MG_OPTIMIZER)) &&
                 succeeded(check("first moment", getFirstMoment(), MG_OPTIMIZER)) &&
                 succeeded(check("second moment", getSecondMoment(), MG_OPTIMIZER)));
}

LogicalResult InputOp::verify() { return checkPlace(*this, "input", getType(), getRange(), MG_IO); }
LogicalResult MetricOp::verify() { return checkPlace(*this, "metric", getType(), getRange(), MG_IO); }
LogicalResult OutputOp::verify() { return checkPlace(*this, "output", getType(), getRange(), MG_IO); }

LogicalResult TableOp::verify() {
  Type type = RankedTensorType::get({int64_t(getValues().size())}, IntegerType::get(getContext(), 64));
  return checkPlace(*this, "table", type, getRange(), MG_CONSTANTS);
}

// Launches.

void CallOp::build(OpBuilder &builder, OperationState &state, StringRef kernel, ArrayRef<Attribute> ranges, ArrayRef<int64_t> ints,
                   ArrayRef<double> doubles, int64_t block, int64_t flops, int64_t moved_bytes, int64_t stream) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.kernel = builder.getStringAttr(kernel);
  properties.ranges = builder.getArrayAttr(ranges);
  properties.ints = builder.getDenseI64ArrayAttr(ints);
  properties.doubles = builder.getDenseF64ArrayAttr(doubles);
  properties.block = builder.getI64IntegerAttr(block);
  properties.flops = builder.getI64IntegerAttr(flops);
  properties.moved_bytes = builder.getI64IntegerAttr(moved_bytes);
  if (stream)
    properties.stream = builder.getI64IntegerAttr(stream);
}

void CallOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getKernel());
  printer << '(';
  const Kernel *kernel = findKernel(getKernel());
  llvm::interleaveComma(llvm::zip_equal(kernel->getRoles(getInts()), getRanges()), printer, [&](auto pair) {
    auto [role, range] = pair;
    if (auto bytes = dyn_cast<RangeAttr>(range)) {
      printer << getRoleName(role) << ' ';
      printRange(printer, bytes);
    } else {
      printer << "null";
    }
  });
  printer << ") {";
  llvm::interleaveComma(llvm::zip_equal(kernel->ints, getInts()), printer,
                        [&](auto pair) { printer << std::get<0>(pair) << " = " << std::get<1>(pair); });
  if (!kernel->ints.empty() && !kernel->doubles.empty())
    printer << ", ";
  llvm::interleaveComma(llvm::zip_equal(kernel->doubles, getDoubles()), printer, [&](auto pair) {
    printer << std::get<0>(pair) << " = ";
    printer.printAttributeWithoutType(FloatAttr::get(Float64Type::get(getContext()), std::get<1>(pair)));
  });
  printer << "}";
  if (getStream())
    printer << " on " << int64_t(getStream());
  printer << " block " << int64_t(getBlock()) << " cost " << int64_t(getFlops()) << ' ' << int64_t(getMovedBytes());
  printer.printOptionalAttrDict((*this)->getAttrs(), {"kernel", "ranges", "ints", "doubles", "stream", "block", "flops", "moved_bytes"});
}

ParseResult CallOp::parse(OpAsmParser &parser, OperationState &result) {
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
    ranges.push_back(role == "null" ? Attribute(UnitAttr::get(parser.getContext())) : Attribute(range));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOperand) || parser.parseLBrace())
    return failure();
  SmallVector<int64_t> ints(kernel->ints.size());
  SmallVector<double> doubles(kernel->doubles.size());
  bool first = true;
  auto parseName = [&](StringRef name) -> ParseResult {
    if (!first && parser.parseComma())
      return failure();
    first = false;
    return failure(parser.parseKeyword(name) || parser.parseEqual());
  };
  for (auto [name, value] : llvm::zip(kernel->ints, ints))
    if (parseName(name) || parser.parseInteger(value))
      return failure();
  for (auto [name, value] : llvm::zip(kernel->doubles, doubles))
    if (parseName(name) || parser.parseFloat(value))
      return failure();
  int64_t stream = 0, block = -1, flops = 0, bytes = 0;
  if (parser.parseRBrace() || (succeeded(parser.parseOptionalKeyword("on")) && parser.parseInteger(stream)) ||
      parser.parseKeyword("block") || parser.parseInteger(block) || parser.parseKeyword("cost") || parser.parseInteger(flops) ||
      parser.parseInteger(bytes) || parser.parseOptionalAttrDict(result.attributes))
    return failure();
  for (auto [role, expected] : llvm::zip(roles, kernel->getRoles(ints)))
    if (role.second != "null" && role.second != getRoleName(expected))
      return parser.emitError(role.first, "operand is \"") << role.second << "\", expected \"" << getRoleName(expected) << "\"";
  OpBuilder builder(parser.getContext());
  build(builder, result, symbol, ranges, ints, doubles, block, flops, bytes, stream);
  return success();
}

LogicalResult CallOp::verify() {
  const Kernel *kernel = findKernel(getKernel());
  if (!kernel)
    return emitOpError("calls the unknown kernel ") << getKernel();
  if (getInts().size() != kernel->ints.size() || getDoubles().size() != kernel->doubles.size())
    return emitOpError("has ") << getInts().size() << " integers and " << getDoubles().size() << " numbers, but " << getKernel()
                               << " takes " << kernel->ints.size() << " and " << kernel->doubles.size();
  if (!kernel->acceptsParts(getInts()))
    return emitOpError("has parts = ") << getInts()[kernel->findInt("parts")] << ", expected 1 to " << Kernel::kMaxParts;
  for (auto [name, value] : llvm::zip_equal(kernel->ints, getInts())) {
    // An axis may be none; a distance goes both ways; a key is 64 bits.
    int64_t least = name.ends_with("axis") ? -1 : name == "distance" || name == "key" ? std::numeric_limits<int64_t>::min() : 0;
    if (value < least)
      return emitOpError("has ") << name << " = " << value << ", it must be at least " << least;
    if (name == "accumulate" && value > 2)
      return emitOpError("has accumulate = ") << value << ", expected 0, 1 or 2";
  }
  if (int64_t flops = getFlops(), bytes = getMovedBytes(); flops < 0 || bytes < 0)
    return emitOpError("has a cost of ") << flops << " FLOPs and " << bytes << " bytes, neither may be negative";
  if (int64_t stream = getStream(); stream < 0 || stream >= MG_STREAM_COUNT)
    return emitOpError("is on stream ") << stream << ", but there are " << int64_t(MG_STREAM_COUNT);
  SmallVector<KernelOperand> operands = kernel->getOperands(getInts());
  if (operands.size() != getRanges().size())
    return emitOpError("has ") << getRanges().size() << " operands, but " << getKernel() << " takes " << operands.size();
  for (auto [operand, count, range] : llvm::zip_equal(operands, kernel->getCounts(getInts()), getRanges())) {
    auto bytes = dyn_cast<RangeAttr>(range);
    if (!bytes && !(isa<UnitAttr>(range) && isOptional(operand.role)))
      return emitOpError("lacks its operand \"") << operand.name << "\", which is not optional";
    if (bytes && !operand.accepts(bytes.getType()))
      return emitOpError("operand \"") << operand.name << "\" is of " << getTypeName(bytes.getType()) << ", expected "
                                       << (operand.isEach()        ? "a type with elements"
                                           : operand.type == "any" ? "f32 or bf16"
                                                                   : operand.type);
    if (!bytes || !count)
      continue;
    if (*count == Kernel::kNoCount)
      return emitOpError("has integers that make no number of elements of its operand \"") << operand.name << "\"";
    int64_t width = getTypeWidth(bytes.getType());
    if (bytes.getBytes() % width || bytes.getBytes() / width != *count)
      return emitOpError("operand \"") << operand.name << "\" has " << bytes.getBytes() << " bytes, expected " << *count << " elements of "
                                       << width;
  }
  return success();
}

SmallVector<Access> megacc::rt::getAccesses(CallOp call) {
  const Kernel *kernel = findKernel(call.getKernel());
  int accumulate = kernel->findInt("accumulate");
  bool adds = accumulate >= 0 && call.getInts()[accumulate];
  SmallVector<Access> accesses;
  for (auto [role, range] : llvm::zip_equal(kernel->getRoles(call.getInts()), call.getRanges())) {
    auto bytes = dyn_cast<RangeAttr>(range);
    if (!bytes)
      continue;
    switch (role) {
    case Role::Out:
    case Role::OptionalOut:
    case Role::OutEach:
    case Role::Scratch:
      accesses.push_back({bytes, role, /*reads=*/false, /*writes=*/true});
      break;
    case Role::Sum:
      accesses.push_back({bytes, role, /*reads=*/adds, /*writes=*/true});
      break;
    case Role::InOut:
    case Role::OptionalInOut:
      accesses.push_back({bytes, role, /*reads=*/true, /*writes=*/true});
      break;
    case Role::In:
    case Role::OptionalIn:
    case Role::InEach:
    case Role::Table:
      accesses.push_back({bytes, role, /*reads=*/true, /*writes=*/false});
      break;
    }
  }
  return accesses;
}

#define GET_OP_CLASSES
#include "dialects/Rt/RtOps.cpp.inc"
