// Records of M2RNN's convolution, recurrence and gate.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Tokens between two cached states.
static constexpr int64_t kInterval = 64;

namespace {

/// The sizes of a recurrence; the kernel pads its states to multiples of 8 and works on `slots` heads at a time.
struct ScanSizes {
  explicit ScanSizes(const KernelQuery &query)
      : batch(query.getInt("batch")), heads(query.getInt("heads")), key(query.getInt("key")), value(query.getInt("value")),
        interval(query.findInt("interval").value_or(kInterval)), blocks(llvm::divideCeil(query.getInt("sequence"), interval)) {}

  int64_t getForwardScratch() const { return floats(slots * (square + 2 * rows + cols + 2 * state)); }
  int64_t getBackwardScratch(bool cached) const {
    int64_t slot = 2 * square + 2 * rows + 2 * cols + (2 * interval + 1) * state, tile = state + square + 2;
    return floats(slots * slot) + floats(tiles * tile) + 2 * floats(tiles * interval * rows) +
           (cached ? 0 : floats(tiles * blocks * key * value));
  }

  int64_t batch, heads, key, value, interval, blocks;
  int64_t tiles = batch * heads, slots = std::min<int64_t>(tiles, 32);
  int64_t rows = llvm::alignTo(key, 8), cols = llvm::alignTo(value, 8), square = cols * cols, state = rows * cols;
};

} // namespace

void megacc::addM2rnnRecords(std::vector<Record> &records) {
  auto countTaps = [](const KernelQuery &query) { return query.getInt("taps") * query.getInt("channels"); };
  Record conv = makeRecord("causal_conv"), convGrad = makeRecord("causal_conv_grad");
  conv.scratch = [countTaps](const KernelQuery &query) { return floats(countTaps(query)); };
  convGrad.scratch = [countTaps](const KernelQuery &query) { return 2 * floats(countTaps(query)); };
  records.push_back(conv);
  addWithAccumulation(records, convGrad, "d_weight");

  Record gate = makeRecord("skip_gate"), gateGrad = makeRecord("skip_gate_grad");
  gate.inPlace = {{"y", "x"}, {"y", "v"}, {"y", "gate"}};
  gateGrad.scratch = [](const KernelQuery &query) { return floats(cpu::tiles(query.getInt("rows")) * query.getInt("cols")); };
  records.push_back(gate);
  addWithAccumulation(records, gateGrad, "d_skip");

  auto tuning = [](const KernelQuery &) { return std::vector<std::pair<std::string, int64_t>>{{"interval", kInterval}}; };
  Record scan = makeRecord("m2rnn_scan"), scanGrad = makeRecord("m2rnn_scan_grad");
  scan.tuning = scanGrad.tuning = tuning;
  scan.scratch = [](const KernelQuery &query) { return ScanSizes(query).getForwardScratch(); };
  scanGrad.scratch = [](const KernelQuery &query) { return ScanSizes(query).getBackwardScratch(query.has("states")); };
  scan.caches = {makeCache("states", [](const KernelQuery &query) {
    ScanSizes size(query);
    return llvm::SmallVector<int64_t>{size.batch, size.heads, size.blocks, size.key, size.value};
  })};
  records.push_back(scan);
  addWithAccumulation(records, scanGrad, "d_state_weight");
  Record norm = makeRecord("m2rnn_state_norm");
  norm.tuning = tuning;
  norm.scratch = [](const KernelQuery &query) {
    ScanSizes size(query);
    return size.getForwardScratch() + doubles(size.tiles);
  };
  records.push_back(norm);
}
