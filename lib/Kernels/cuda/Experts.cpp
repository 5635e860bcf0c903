// sm_90a records of routed experts.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

/// The record "cpu.NAME" of kernels that take these operands in bf16 only.
static Record makeBf16Record(const std::vector<Record> &records, llvm::StringRef name, std::vector<llvm::StringRef> operands) {
  Record record = makeRecord(records, name);
  alsoRefuse(record, [operands = std::move(operands)](const KernelQuery &query) { return refuseNotBf16(query, operands); });
  return record;
}

namespace megacc {

/// After the records of the cpu target.
void addExpertCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"moe_route", "moe_statistics", "moe_route_grad"}) {
    Record record = makeRecord(records, name);
    alsoRefuse(record, [](const KernelQuery &query) { return refuseAbove(query, "experts", 512); });
    // Scratch, for every tile of 64 tokens and every expert: a bit per token, the number of picks, the first row.
    if (name == "moe_route")
      record.scratch = [](const KernelQuery &query) {
        int64_t count = llvm::divideCeil(query.getInt("rows"), 64) * query.getInt("experts");
        return getRoom(count, 8) + 2 * getRoom(count, 4);
      };
    // Scratch: the sums over the tokens of every tile.
    if (name == "moe_statistics")
      record.scratch = [](const KernelQuery &query) {
        return getRoom(llvm::divideCeil(query.getInt("rows"), 64) * (query.getInt("experts") + 1), 8);
      };
    records.push_back(record);
  }
  for (llvm::StringRef name : {"moe_losses", "moe_count_picks", "moe_bias_update"})
    records.push_back(makeRecord(records, name));

  records.push_back(makeBf16Record(records, "moe_dispatch", {"rows", "x"}));
  records.push_back(makeBf16Record(records, "moe_combine", {"y", "rows"}));
  addWithAddend(records, makeBf16Record(records, "moe_combine", {"y", "add.y", "rows"}), "y");
  records.push_back(makeRecord(records, "moe_dispatch_weights"));
  records.push_back(makeRecord(records, "moe_dispatch_weights_grad"));

  records.push_back(makeBf16Record(records, "grouped_linear", {"y", "x", "weight"}));
  records.push_back(makeBf16Record(records, "grouped_linear_grad_input", {"d_x", "d_y", "weight"}));
  for (llvm::StringRef name : {"grouped_linear_grad_weight", "grouped_linear_grad_weight+accumulate"})
    records.push_back(makeBf16Record(records, name, {"d_y", "x"}));
}

} // namespace megacc
