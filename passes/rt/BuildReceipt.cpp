// What runs in every slot.
#include "dialects/Interfaces/OpPath.h"
#include "dialects/Interfaces/Size.h"
#include "passes/rt/Passes.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

#include <map>

using namespace mlir;

namespace megacc::rt {
#define GEN_PASS_DEF_RTBUILDRECEIPT
#include "passes/rt/Passes.h.inc"

namespace {

struct RtBuildReceipt : impl::RtBuildReceiptBase<RtBuildReceipt> {
  void runOnOperation() override {
    auto slots = getOperation()->getAttrOfType<ArrayAttr>("megacc.slots");
    if (!slots) {
      getOperation().emitError("has no attribute 'megacc.slots'");
      return signalPassFailure();
    }
    std::map<int64_t, ParameterOp> owners; // by first byte
    for (auto parameter : getOperation().getOps<ParameterOp>())
      owners[parameter.getWeight().getOffset()] = parameter;

    std::vector<Row> rows(slots.size() + 1); // the last row: outside blocks
    auto getRow = [&](int64_t block) -> Row & { return rows[block < 0 ? slots.size() : block]; };
    bool good = true;
    auto exists = [&](Operation *op, int64_t block) {
      if (block < int64_t(slots.size()))
        return true;
      op->emitOpError("is of slot ") << block << ", but the stack has " << slots.size();
      return good = false;
    };
    for (auto &[offset, parameter] : owners)
      if (exists(parameter, parameter.getBlock()))
        getRow(parameter.getBlock()).parameters += cast<RankedTensorType>(parameter.getType()).getNumElements();
    getOperation().walk([&](CallOp call) {
      if (!exists(call, call.getBlock()))
        return;
      good &= belongs(call, owners);
      if (call->getParentOfType<FuncOp>().getSymName() != "micro_batch")
        return;
      Row &row = getRow(call.getBlock());
      ++row.launches[call.getKernel()];
      row.flops = row.flops + call.getFlops();
      row.bytes = row.bytes + call.getMovedBytes();
    });
    for (auto [index, row] : llvm::enumerate(rows))
      if (row.flops.get() == Size::kLargest || row.bytes.get() == Size::kLargest) {
        getOperation().emitError("slot ") << (index < slots.size() ? int64_t(index) : -1) << " has more than " << Size::kLargest - 1
                                          << (row.flops.get() == Size::kLargest ? " FLOPs" : " bytes moved")
                                          << " a micro-batch; fix: smaller sizes";
        good = false;
      }
    if (!good)
      return signalPassFailure();

    Builder builder(&getContext());
    SmallVector<Attribute> receipt;
    for (auto [index, row] : llvm::enumerate(rows)) {
      NamedAttrList entry;
      if (index < slots.size())
        entry.append(cast<DictionaryAttr>(slots[index]));
      else
        entry.set("slot", builder.getI64IntegerAttr(-1));
      entry.set("parameters", builder.getI64IntegerAttr(row.parameters));
      entry.set("flops", builder.getI64IntegerAttr(row.flops.get()));
      entry.set("bytes", builder.getI64IntegerAttr(row.bytes.get()));
      NamedAttrList launches;
      for (auto &[kernel, count] : row.launches)
        launches.set(kernel, builder.getI64IntegerAttr(count));
      entry.set("launches", launches.getDictionary(&getContext()));
      receipt.push_back(entry.getDictionary(&getContext()));
    }
    getOperation()->setAttr("megacc.receipt", builder.getArrayAttr(receipt));
  }

private:
  struct Row {
    std::map<StringRef, int64_t> launches;
    int64_t parameters = 0;
    Size flops = 0, bytes = 0;
  };

  /// A launch of a slot carries the slot's path and touches no weight of another slot.
  bool belongs(CallOp call, const std::map<int64_t, ParameterOp> &owners) {
    int64_t block = call.getBlock();
    if (block < 0)
      return true;
    std::string prefix = "blocks." + std::to_string(block);
    StringRef path = getPath(call);
    if (!path.consume_front(prefix) || (!path.empty() && path.front() != '.' && path.front() != '/')) {
      call.emitOpError("is of slot ") << block << ", but its path is \"" << getPath(call) << "\"";
      return false;
    }
    for (const Access &access : getAccesses(call)) {
      if (access.range.getSegment() != MG_WEIGHTS)
        continue;
      auto owner = owners.find(access.range.getOffset());
      if (owner == owners.end())
        continue;
      ParameterOp parameter = owner->second;
      int64_t other = parameter.getBlock();
      if (other >= 0 && other != block) {
        call.emitOpError("of slot ") << block << " uses \"" << parameter.getName() << "\" of slot " << other;
        return false;
      }
    }
    return true;
  }
};

} // namespace
} // namespace megacc::rt
