// Launches as code.
#include "lib/Target/Descriptor.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Endian.h"

#include <cstddef>

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTTOLLVM
#include "passes/rt/Passes.h.inc"

namespace {

/// Launches in one function of code.
constexpr size_t kLaunchesPerFunction = 128;

/// Fields of MgLaunch and, as far as code uses them, of MgContext, in the order of StepABI.h.
enum LaunchField {
  kOperands,
  kBytes,
  kTypes,
  kOperandCount,
  kInts,
  kIntCount,
  kDoubles,
  kDoubleCount,
  kMicroBatch,
  kCallIndex,
  kStream,
  kContext,
  kLaunchFields
};
enum ContextField { kSegments, kContextMicroBatch, kLaunchFunction };

/// Every field of MgLaunch is 8 bytes long, as every field of its LLVM struct.
constexpr bool isAt(size_t offset, LaunchField field) { return offset == 8 * size_t(field); }
static_assert(isAt(offsetof(MgLaunch, operands), kOperands) && isAt(offsetof(MgLaunch, bytes), kBytes));
static_assert(isAt(offsetof(MgLaunch, types), kTypes) && isAt(offsetof(MgLaunch, operand_count), kOperandCount));
static_assert(isAt(offsetof(MgLaunch, ints), kInts) && isAt(offsetof(MgLaunch, int_count), kIntCount));
static_assert(isAt(offsetof(MgLaunch, doubles), kDoubles) && isAt(offsetof(MgLaunch, double_count), kDoubleCount));
static_assert(isAt(offsetof(MgLaunch, micro_batch), kMicroBatch) && isAt(offsetof(MgLaunch, call_index), kCallIndex));
static_assert(isAt(offsetof(MgLaunch, stream), kStream) && isAt(offsetof(MgLaunch, context), kContext));
static_assert(isAt(sizeof(MgLaunch), kLaunchFields));
static_assert(offsetof(MgContext, segments) == 0 && sizeof(MgContext::segments) == 8 * MG_SEGMENT_COUNT);
static_assert(offsetof(MgContext, micro_batch) == 8 * MG_SEGMENT_COUNT && offsetof(MgContext, launch) == 8 * (MG_SEGMENT_COUNT + 1));

/// Writes the code of a module.
class CodeWriter {
public:
  CodeWriter(ModuleOp module)
      : builder(OpBuilder::atBlockEnd(module.getBody())), context(module.getContext()), pointer(LLVM::LLVMPointerType::get(context)),
        i8(builder.getI8Type()), i32(builder.getI32Type()), i64(builder.getI64Type()), symbols(module) {
    contextType = LLVM::LLVMStructType::getLiteral(context, {LLVM::LLVMArrayType::get(pointer, MG_SEGMENT_COUNT), i64, pointer});
    launchType =
        LLVM::LLVMStructType::getLiteral(context, {pointer, pointer, pointer, i64, pointer, i64, pointer, i64, i64, i64, i64, pointer});
    statusType = LLVM::LLVMFunctionType::get(i32, {pointer});
    launchFunctionType = LLVM::LLVMFunctionType::get(i32, {pointer, pointer, pointer});
  }

  /// Exports a constant array of bytes.
  void addBytes(StringRef name, const std::string &bytes) {
    LLVM::GlobalOp::create(builder, builder.getUnknownLoc(), LLVM::LLVMArrayType::get(i8, bytes.size()), /*isConstant=*/true,
                           LLVM::Linkage::External, name, builder.getStringAttr(bytes));
  }

  void addFunction(FuncOp func) {
    SmallVector<CallOp> calls(func.getBody().getOps<CallOp>());
    SmallVector<std::string> parts;
    for (size_t first = 0; first < calls.size(); first += kLaunchesPerFunction) {
      parts.push_back((func.getSymName() + "_" + Twine(parts.size())).str());
      addPart(parts.back(), ArrayRef(calls).slice(first, std::min(kLaunchesPerFunction, calls.size() - first)), first);
    }
    Location loc = func.getLoc();
    auto entry = LLVM::LLVMFuncOp::create(builder, loc, getEntrySymbol(func.getSymName()), statusType);
    start(entry);
    for (const std::string &part : parts)
      returnUnlessZero(loc, LLVM::CallOp::create(builder, loc, statusType, part, ValueRange{contextValue}).getResult());
    finish(loc);
  }

private:
  /// Runs `make` at the start of the function that is being written, so that every launch can use what it makes.
  template <typename Make> Value hoist(Value &known, Make make) {
    if (!known) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointToStart(&current.getBody().front());
      known = make();
    }
    return known;
  }

  Value constant(Location loc, int64_t value) {
    return hoist(constants[value], [&] { return LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(value)); });
  }
  Value null(Location loc) {
    return hoist(nullValue, [&] { return LLVM::ZeroOp::create(builder, loc, pointer); });
  }

  /// Begins the body of a function; its one argument is the context.
  void start(LLVM::LLVMFuncOp func) {
    end = builder.saveInsertionPoint();
    current = func;
    constants.clear(), addresses.clear(), stored.clear();
    nullValue = zeroValue = Value();
    Block *block = func.addEntryBlock(builder);
    contextValue = block->getArgument(0);
    leave = builder.createBlock(&func.getBody(), func.getBody().end(), {i32}, {func.getLoc()});
    LLVM::ReturnOp::create(builder, func.getLoc(), leave->getArgument(0));
    builder.setInsertionPointToStart(block);
  }

  void finish(Location loc) {
    LLVM::ReturnOp::create(builder, loc, LLVM::ConstantOp::create(builder, loc, i32, builder.getI32IntegerAttr(0)));
    if (leave->hasNoPredecessors()) // nothing is launched
      leave->erase();
    builder.restoreInsertionPoint(end);
  }

  void returnUnlessZero(Location loc, Value status) {
    Value zero = hoist(zeroValue, [&] { return LLVM::ConstantOp::create(builder, loc, i32, builder.getI32IntegerAttr(0)); });
    Value failed = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::ne, status, zero);
    Block *here = builder.getInsertionBlock(), *next = builder.createBlock(leave);
    builder.setInsertionPointToEnd(here);
    LLVM::CondBrOp::create(builder, loc, failed, leave, ValueRange{status}, next, ValueRange());
    builder.setInsertionPointToEnd(next);
  }

  Value field(Location loc, Type type, Value base, int32_t index) {
    return LLVM::GEPOp::create(builder, loc, pointer, type, base, ArrayRef<LLVM::GEPArg>{0, index}, LLVM::GEPNoWrapFlags::inbounds);
  }

  Value loadContext(Location loc, ContextField index, Type type) {
    return LLVM::LoadOp::create(builder, loc, type, field(loc, contextType, contextValue, index));
  }

  /// Stores what the launch before did not leave there.
  void store(Location loc, Value value, Value place) {
    Value &before = stored[place];
    if (before != value)
      LLVM::StoreOp::create(builder, loc, value, place);
    before = value;
  }
  void storeLaunch(Location loc, LaunchField index, Value value) { store(loc, value, fieldValues[index]); }

  void addPart(StringRef name, ArrayRef<CallOp> calls, int64_t first) {
    Location loc = CallOp(calls.front()).getLoc();
    auto func = LLVM::LLVMFuncOp::create(builder, loc, name, statusType, LLVM::Linkage::Internal);
    start(func);
    size_t most = 0;
    for (CallOp call : calls)
      most = std::max(most, call.getRanges().size());
    Value one = constant(loc, 1);
    Value operandsValue = LLVM::AllocaOp::create(builder, loc, pointer, pointer, constant(loc, most));
    Value launchValue = LLVM::AllocaOp::create(builder, loc, pointer, launchType, one);
    // Addresses are made once; launches only store.
    slotValues.clear();
    for (size_t slot = 0; slot < most; ++slot)
      slotValues.push_back(LLVM::GEPOp::create(builder, loc, pointer, pointer, operandsValue, ArrayRef<LLVM::GEPArg>{int32_t(slot)}));
    for (int32_t index = 0; index < kLaunchFields; ++index)
      fieldValues[index] = field(loc, launchType, launchValue, index);
    launchArgument = launchValue;
    for (int32_t segment = 0; segment < MG_SEGMENT_COUNT; ++segment)
      segmentValues[segment] = LLVM::LoadOp::create(
          builder, loc, pointer,
          LLVM::GEPOp::create(builder, loc, pointer, contextType, contextValue, ArrayRef<LLVM::GEPArg>{0, int32_t(kSegments), segment}));
    microBatchValue = loadContext(loc, kContextMicroBatch, i64);
    storeLaunch(loc, kOperands, operandsValue);
    storeLaunch(loc, kMicroBatch, microBatchValue);
    storeLaunch(loc, kContext, contextValue);
    Value launchFunction = loadContext(loc, kLaunchFunction, pointer);
    for (auto [index, call] : llvm::enumerate(calls))
      addLaunch(call, first + index, launchFunction);
    finish(loc);
  }

  void addLaunch(CallOp call, int64_t index, Value launchFunction) {
    Location loc = call.getLoc();
    SmallVector<int64_t> bytes;
    SmallVector<int8_t> types;
    for (auto [slot, attribute] : llvm::zip(slotValues, call.getRanges())) {
      auto range = dyn_cast<RangeAttr>(attribute);
      bytes.push_back(range ? range.getBytes() : 0);
      types.push_back(range ? range.getType() : MG_ABSENT);
      store(loc, range ? getAddress(loc, range) : null(loc), slot);
    }
    storeLaunch(loc, kBytes, getTable(loc, builder.getDenseI64ArrayAttr(bytes)));
    storeLaunch(loc, kTypes, getTable(loc, builder.getDenseI8ArrayAttr(types)));
    storeLaunch(loc, kOperandCount, constant(loc, bytes.size()));
    storeLaunch(loc, kInts, getTable(loc, call.getIntsAttr()));
    storeLaunch(loc, kIntCount, constant(loc, call.getInts().size()));
    storeLaunch(loc, kDoubles, getTable(loc, call.getDoublesAttr()));
    storeLaunch(loc, kDoubleCount, constant(loc, call.getDoubles().size()));
    storeLaunch(loc, kCallIndex, constant(loc, index));
    storeLaunch(loc, kStream, constant(loc, call.getStream()));
    Value kernel = getAddress(loc, getKernel(call.getKernel()));
    auto status = LLVM::CallOp::create(builder, loc, launchFunctionType, ValueRange{launchFunction, contextValue, kernel, launchArgument});
    returnUnlessZero(loc, status.getResult());
  }

  Value getAddress(Location loc, RangeAttr range) {
    Value offset = constant(loc, range.getOffset());
    if (range.getStride()) {
      Value moved = LLVM::MulOp::create(builder, loc, microBatchValue, constant(loc, range.getStride()));
      offset = LLVM::AddOp::create(builder, loc, offset, moved);
    }
    return LLVM::GEPOp::create(builder, loc, pointer, i8, segmentValues[range.getSegment()], ArrayRef<LLVM::GEPArg>{offset});
  }

  Value getAddress(Location loc, StringRef symbol) {
    return hoist(addresses[symbol], [&] { return LLVM::AddressOfOp::create(builder, loc, pointer, symbol); });
  }

  /// The address of a constant array; equal arrays are one.
  Value getTable(Location loc, DenseArrayAttr values) {
    if (values.empty())
      return null(loc);
    std::string &name = tables[values];
    if (name.empty()) {
      name = ("table_" + Twine(tables.size() - 1)).str();
      OpBuilder::InsertionGuard guard(builder);
      builder.restoreInsertionPoint(end);
      auto tensor = RankedTensorType::get({values.size()}, values.getElementType());
      LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(values.getElementType(), values.size()), /*isConstant=*/true,
                             LLVM::Linkage::Internal, name, DenseElementsAttr::getFromRawBuffer(tensor, values.getRawData()));
    }
    return getAddress(loc, name);
  }

  /// Declares a kernel at its first use.
  StringRef getKernel(StringRef name) {
    if (!symbols.lookup(name)) {
      OpBuilder::InsertionGuard guard(builder);
      builder.restoreInsertionPoint(end);
      symbols.insert(LLVM::LLVMFuncOp::create(builder, builder.getUnknownLoc(), name, statusType));
    }
    return name;
  }

  OpBuilder builder;
  MLIRContext *context;
  Type pointer, i8, i32, i64;
  SymbolTable symbols;
  Type contextType, launchType;
  LLVM::LLVMFunctionType statusType, launchFunctionType;
  llvm::DenseMap<Attribute, std::string> tables;

  // State of the function that is being written.
  OpBuilder::InsertPoint end;
  LLVM::LLVMFuncOp current;
  Block *leave; // returns its argument
  llvm::DenseMap<int64_t, Value> constants;
  llvm::StringMap<Value> addresses;
  llvm::DenseMap<Value, Value> stored; // by place
  Value nullValue, zeroValue;
  Value contextValue, launchArgument, microBatchValue;
  SmallVector<Value> slotValues;
  Value fieldValues[kLaunchFields];
  Value segmentValues[MG_SEGMENT_COUNT];
};

/// What the constants segment holds first; a C array has at least one byte.
FailureOr<std::string> getConstants(ModuleOp module) {
  std::string bytes;
  for (auto segment : module.getOps<SegmentOp>())
    if (segment.getName() == getSegmentName(MG_CONSTANTS))
      bytes.resize(segment.getBytes());
  for (auto table : module.getOps<TableOp>()) {
    RangeAttr range = table.getRange();
    if (range.getOffset() + range.getBytes() > int64_t(bytes.size()))
      return table.emitOpError("ends at byte ") << range.getOffset() + range.getBytes() << ", but constants have " << bytes.size();
    for (auto [index, value] : llvm::enumerate(table.getValues()))
      llvm::support::endian::write64le(&bytes[range.getOffset() + 8 * index], value);
  }
  if (bytes.empty())
    bytes.push_back(0);
  return bytes;
}

struct RtToLLVM : impl::RtToLLVMBase<RtToLLVM> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<std::string> constants = getConstants(module);
    if (failed(constants))
      return signalPassFailure();
    CodeWriter writer(module);
    writer.addBytes("megacc_descriptor", buildDescriptor(module) + '\0');
    writer.addBytes("megacc_constants", *constants);
    for (auto func : llvm::to_vector(module.getOps<FuncOp>()))
      writer.addFunction(func);
    for (Operation &op : llvm::make_early_inc_range(module.getBody()->getOperations()))
      if (isa<RtDialect>(op.getDialect()))
        op.erase();
    for (NamedAttribute attribute : llvm::to_vector(module->getDiscardableAttrs()))
      if (attribute.getName().strref().starts_with("megacc."))
        module->removeDiscardableAttr(attribute.getName());
  }
};

} // namespace
} // namespace megacc::rt
