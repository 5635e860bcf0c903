// sm_90a records of the gated delta rule, and of the norm and gate behind it.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

namespace {

/// As runtime/kernels/deltanet/gated_delta.cu carves its scratch.
struct DeltaSizes {
  explicit DeltaSizes(const KernelQuery &query)
      : rows(query.getInt("batch") * query.getInt("sequence")), heads(query.getInt("heads")), groups(query.getInt("key_heads")),
        key(query.getInt("key")), value(query.getInt("value")), chunk(query.getInt("chunk")),
        chunks(llvm::divideCeil(query.getInt("sequence"), chunk)), tiles(query.getInt("batch") * heads),
        element(query.find("q")->type.getElementType().isBF16() ? 2 : 4) {}

  int64_t getForwardScratch() const { return getRoom(tiles * (chunk * (2 * chunk + value) + key * value), 4); }
  int64_t getBackwardScratch(bool cached) const {
    return getRoom(tiles * (chunk * (5 * chunk + 3 * value + 3 * key) + key * value), 4) + getRoom(tiles * 2, 4) +
           (heads == groups ? 0 : 2 * getRoom(rows * heads * key, element)) + (cached ? 0 : getRoom(tiles * chunks * key * value, element));
  }

  int64_t rows, heads, groups, key, value, chunk, chunks, tiles, element;
};

} // namespace

namespace megacc {

/// After the records of the cpu target.
void addDeltanetCudaRecords(std::vector<Record> &records) {
  Record delta = makeRecord(records, "gated_delta"), deltaGrad = makeRecord(records, "gated_delta_grad");
  for (Record *record : {&delta, &deltaGrad})
    alsoRefuse(*record, [](const KernelQuery &query) { return refuseAbove(query, "chunk", 128); });
  delta.scratch = [](const KernelQuery &query) { return DeltaSizes(query).getForwardScratch(); };
  deltaGrad.scratch = [](const KernelQuery &query) { return DeltaSizes(query).getBackwardScratch(query.has("states")); };
  // The states have the type of q: only what the backward reads of them is rounded.
  for (Cache &cache : delta.caches)
    cache.type = [](const KernelQuery &query) {
      int64_t chunks = llvm::divideCeil(query.getInt("sequence"), query.getInt("chunk"));
      return mlir::RankedTensorType::get({query.getInt("batch"), query.getInt("heads"), chunks, query.getInt("key"), query.getInt("value")},
                                         query.find("q")->type.getElementType());
    };
  records.push_back(delta);
  records.push_back(deltaGrad);

  for (llvm::StringRef name : {"gated_norm", "gated_norm_grad", "gated_norm_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    alsoRefuse(record, [](const KernelQuery &query) { return refuseAbove(query, "cols", 1024); });
    if (record.symbol == "mg_gated_norm_grad")
      record.scratch = [](const KernelQuery &query) {
        return getRoom(std::min<int64_t>(llvm::divideCeil(query.getInt("rows"), 64), 512) * query.getInt("cols"), 4);
      };
    records.push_back(record);
  }
}

} // namespace megacc
