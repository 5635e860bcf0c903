// Records of what placements compute beside the blocks, and of attention to a bank.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// The rows of each table.
static std::vector<int64_t> getSizes(const KernelQuery &query) {
  std::vector<int64_t> sizes;
  for (const auto &[name, value] : query.ints)
    if (name == "size")
      sizes.push_back(value);
  return sizes;
}

/// Floats of a transposed key matrix, of two tiles of scores for every task, and of the sums over a task's rows where there are such sums.
static int64_t getBankScratch(const KernelQuery &query, bool grad) {
  int64_t bank = llvm::alignTo(query.getInt("bank"), 16), heads = query.getInt("heads"), dim = query.getInt("dim");
  int64_t parts = std::min<int64_t>(tiles(query.getInt("rows")), 16), tile = 64 * bank, keys = query.getInt("bank") * dim;
  return grad ? 2 * floats(heads * dim * bank) + floats(2 * parts * heads * tile) + floats(2 * parts * heads * keys)
              : floats(heads * dim * bank) + floats(parts * heads * tile);
}

void megacc::addPlacementRecords(std::vector<Record> &records) {
  for (llvm::StringRef name :
       {"window_sum", "unit_norm", "unit_norm_grad", "alignment", "alignment_grad", "weighted_parts", "count_spans", "straightness_grad"})
    records.push_back(makeRecord(name));

  Record rows = makeRecord("component_rows");
  rows.table = getSizes;
  rows.refuses = [](const KernelQuery &query) -> std::string {
    int64_t sizes = getSizes(query).size(), parts = query.getInt("parts");
    return sizes == parts ? "" : "there are " + std::to_string(sizes) + " sizes, expected " + std::to_string(parts);
  };
  records.push_back(rows);
  Record partsGrad = makeRecord("weighted_parts_grad");
  partsGrad.scratch = [](const KernelQuery &query) { return floats(tiles(query.getInt("rows")) * query.getInt("parts")); };
  addWithAccumulation(records, partsGrad, "d_weight");

  Record attention = makeRecord("bank_attention"), attentionGrad = makeRecord("bank_attention_grad");
  attention.scratch = [](const KernelQuery &query) { return getBankScratch(query, /*grad=*/false); };
  attentionGrad.scratch = [](const KernelQuery &query) { return getBankScratch(query, /*grad=*/true); };
  records.push_back(attention);
  records.push_back(attentionGrad);

  Record straightness = makeRecord("straightness");
  straightness.scratch = [](const KernelQuery &query) { return doubles(query.getInt("batch") * query.getInt("spans")); };
  records.push_back(straightness);
}
