// Records of the gated delta rule, and of the norm and gate behind it.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

namespace {

/// The sizes of a rule. The kernel pads to multiples of 8 floats and has up to 32 heads at a time; the backward as many groups of heads.
struct DeltaSizes {
  explicit DeltaSizes(const KernelQuery &query)
      : batch(query.getInt("batch")), heads(query.getInt("heads")), groups(query.getInt("key_heads")), key(query.getInt("key")),
        value(query.getInt("value")), L(query.getInt("chunk")), chunks(llvm::divideCeil(query.getInt("sequence"), L)) {}

  int64_t getForwardScratch() const { return floats(std::min<int64_t>(batch * heads, 32) * (L * (4 * N + 2 * P + 4 * L + 9) + N * P)); }
  int64_t getBackwardScratch(bool cached) const {
    int64_t lanes = std::min<int64_t>(batch * groups, 32);
    return floats(lanes * (L * (7 * N + 6 * P + 6 * L + 13) + 4 * N * P)) + doubles(2 * batch * heads) +
           (cached ? 0 : floats(lanes * chunks * key * value));
  }

  int64_t batch, heads, groups, key, value, L, chunks;
  int64_t N = llvm::alignTo(key, 8), P = llvm::alignTo(value, 8);
};

} // namespace

void megacc::addDeltanetRecords(std::vector<Record> &records) {
  Record delta = makeRecord("gated_delta"), deltaGrad = makeRecord("gated_delta_grad");
  delta.scratch = [](const KernelQuery &query) { return DeltaSizes(query).getForwardScratch(); };
  deltaGrad.scratch = [](const KernelQuery &query) { return DeltaSizes(query).getBackwardScratch(query.has("states")); };
  delta.caches = {makeCache("states", [](const KernelQuery &query) {
    DeltaSizes size(query);
    return llvm::SmallVector<int64_t>{size.batch, size.heads, size.chunks, size.key, size.value};
  })};
  records.push_back(delta);
  records.push_back(deltaGrad);

  Record norm = makeRecord("gated_norm"), normGrad = makeRecord("gated_norm_grad");
  norm.inPlace = {{"y", "x"}, {"y", "gate"}};
  normGrad.scratch = [](const KernelQuery &query) { return floats(tiles(query.getInt("rows")) * query.getInt("cols")); };
  records.push_back(norm);
  addWithAccumulation(records, normGrad, "d_weight");
}
