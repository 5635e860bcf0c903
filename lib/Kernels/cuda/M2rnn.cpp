// sm_90a records of M2RNN's parts.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

/// Tokens between two cached states, and those that one share of d_q and d_k has.
static constexpr int64_t kInterval = 16, kGroup = 8;

namespace {

/// As runtime/kernels/m2rnn/m2rnn.cu carves its scratch.
struct ScanSizes {
  explicit ScanSizes(const KernelQuery &query)
      : batch(query.getInt("batch")), heads(query.getInt("heads")), key(query.getInt("key")), value(query.getInt("value")),
        interval(query.findInt("interval").value_or(kInterval)), blocks(llvm::divideCeil(query.getInt("sequence"), interval)),
        groups(llvm::divideCeil(query.getInt("sequence"), 16) * (16 / kGroup)), isBf16(query.find("q")->type.getElementType().isBF16()) {}

  int64_t getBackwardScratch(bool cached) const {
    int64_t tiles = batch * heads, element = isBf16 ? 2 : 4, state = key * value;
    bool isFast = isBf16 && key == 64 && value == 16 && interval == 16;
    return 2 * getRoom(tiles * groups * key * kGroup, element) + getRoom(tiles * (isFast ? 4 : 1) * value * value, 4) +
           getRoom(tiles * 2, 4) + (isFast ? 0 : getRoom(tiles * (2 * interval + 1) * state, 4)) +
           (cached ? 0 : getRoom(tiles * blocks * state, element));
  }

  int64_t batch, heads, key, value, interval, blocks, groups;
  bool isBf16;
};

} // namespace

static std::string refuseSizes(const KernelQuery &query) {
  std::string why = refuseAbove(query, "key", 64);
  return why.empty() ? refuseAbove(query, "value", 64) : why;
}

namespace megacc {

/// After the records of the cpu target.
void addM2rnnCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"causal_conv", "causal_conv_grad", "causal_conv_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    alsoRefuse(record, [](const KernelQuery &query) { return refuseAbove(query, "taps", 16); });
    // Sums of d_weight and d_bias over tiles of 32 tokens.
    if (record.symbol == "mg_causal_conv_grad")
      record.scratch = [](const KernelQuery &query) {
        int64_t tiles = query.getInt("batch") * llvm::divideCeil(query.getInt("sequence"), 32), channels = query.getInt("channels");
        return getRoom(tiles * query.getInt("taps") * channels, 4) + getRoom(tiles * channels, 4);
      };
    records.push_back(record);
  }

  records.push_back(makeRecord(records, "skip_gate"));
  for (llvm::StringRef name : {"skip_gate_grad", "skip_gate_grad+accumulate"}) {
    Record record = makeRecord(records, name);
    record.scratch = [](const KernelQuery &query) {
      return getRoom(std::min<int64_t>(llvm::divideCeil(query.getInt("rows"), 32), 128) * query.getInt("cols"), 4);
    };
    records.push_back(record);
  }

  for (llvm::StringRef name : {"m2rnn_scan", "m2rnn_scan_grad", "m2rnn_scan_grad+accumulate", "m2rnn_state_norm"}) {
    Record record = makeRecord(records, name);
    alsoRefuse(record, refuseSizes);
    record.tuning = [before = record.tuning](const KernelQuery &query) {
      std::vector<std::pair<std::string, int64_t>> parameters = before(query);
      for (auto &[name, value] : parameters)
        if (name == "interval")
          value = kInterval;
      return parameters;
    };
    if (record.symbol == "mg_m2rnn_scan_grad")
      record.scratch = [](const KernelQuery &query) { return ScanSizes(query).getBackwardScratch(query.has("states")); };
    if (record.symbol == "mg_m2rnn_state_norm")
      record.scratch = [](const KernelQuery &query) { return getRoom(query.getInt("batch") * query.getInt("heads"), 4); };
    // The states have the type of q; the last bits of a state do not matter to its window.
    for (Cache &cache : record.caches)
      cache.type = [](const KernelQuery &query) {
        ScanSizes size(query);
        return mlir::RankedTensorType::get({size.batch, size.heads, size.blocks, size.key, size.value},
                                           query.find("q")->type.getElementType());
      };
    records.push_back(record);
  }
}

} // namespace megacc
