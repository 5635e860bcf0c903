// Records of the Mamba-3 scan.
#include "lib/Kernels/Cpu.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cpu;

/// Tokens between two cached states.
static constexpr int64_t kWindow = 256;

namespace {

/// The sizes of a scan. The kernel works on chunks of at most 32 rows, pads to multiples of 8 floats, and has up to 32 heads at a time; the
/// backward as many tasks, which are parts of a group's heads.
struct ScanSizes {
  explicit ScanSizes(const KernelQuery &query)
      : batch(query.getInt("batch")), sequence(query.getInt("sequence")), heads(query.getInt("heads")), groups(query.getInt("groups")),
        rank(query.getInt("rank")), headDim(query.getInt("head_dim")), state(query.getInt("state")), angles(query.getInt("angles")),
        window(query.findInt("window").value_or(kWindow)) {
    for (chunk = 32; chunk > 1 && chunk * rank > 32;)
      chunk /= 2;
    N = pad(state), P = pad(headDim), L = pad(chunk * rank), S = pad(sequence);
    while (parts < heads / groups && (batch * groups * parts < 16 || heads / groups % parts))
      ++parts;
  }

  static int64_t pad(int64_t count) { return llvm::alignTo(count, 8); }
  int64_t countWindows() const { return llvm::divideCeil(sequence, window); }

  /// Per-token arrays of both kernels.
  int64_t getTokens() const { return 2 * floats(rows() * rank * groups) + floats(rows() * angles); }
  int64_t getForwardScratch() const {
    int64_t lane = L * (5 * N + 6 * P + 3 * L) + N * P + 8 * (L + N + P) + (5 + 2 * angles) * S;
    return getTokens() + floats(std::min<int64_t>(batch * heads, 32) * lane);
  }
  int64_t getBackwardScratch(bool cached) const {
    int64_t windowChunks = llvm::divideCeil(std::min(window, sequence), chunk), lanes = std::min<int64_t>(batch * groups * parts, 32);
    int64_t lane = L * (7 * N + 11 * P + 5 * L) + (windowChunks + 5) * N * P + 8 * (L + N + P) + pad(angles) + (9 + 2 * angles) * S;
    return getTokens() + floats(batch * heads * (rank * (2 * N + 3 * P) + P + 8)) +
           floats((parts - 1) * rows() * 2 * rank * groups * state) + floats(groups * parts * rows() * angles) +
           floats(tiles(rows()) * 2 * state) + floats(lanes * lane) + (cached ? 0 : floats(lanes * countWindows() * state * headDim));
  }

  int64_t rows() const { return batch * sequence; }
  int64_t batch, sequence, heads, groups, rank, headDim, state, angles, window;
  int64_t chunk, N, P, L, S, parts = 1;
};

} // namespace

static int64_t countParameters(const KernelQuery &query) {
  return llvm::count_if(query.operands, [](const LaunchOperand &operand) { return operand.name == "parameter"; });
}

static std::string refuse(const KernelQuery &query) {
  int64_t mimo = query.getInt("mimo"), rank = query.getInt("rank"), state = query.getInt("state"), angles = query.getInt("angles");
  int64_t expected = 6 + (mimo ? 3 : 0) + (query.getInt("out_norm") ? 1 : 0), parts = countParameters(query);
  if (parts != expected && parts != expected + 1) // one more with a state gate
    return "parts is " + std::to_string(parts) + ", expected " + std::to_string(expected) + " or " + std::to_string(expected + 1);
  if (!mimo && rank != 1)
    return "rank is " + std::to_string(rank) + " without mimo, expected 1";
  if (state % 2 || angles > state / 2)
    return "angles is " + std::to_string(angles) + " for a state of " + std::to_string(state) + ", at most half of an even one";
  if (int64_t window = query.findInt("window").value_or(kWindow); window % 64)
    return "window is " + std::to_string(window) + ", expected a multiple of 64";
  return "";
}

Cache megacc::makePsiV() {
  Cache psiV;
  psiV.name = "psi_v";
  psiV.type = [](const KernelQuery &query) {
    int64_t rows = query.getInt("batch") * query.getInt("sequence");
    if (!query.getInt("mimo"))
      return mlir::RankedTensorType();
    return mlir::RankedTensorType::get({rows, query.getInt("heads"), query.getInt("rank"), query.getInt("head_dim")},
                                       query.find("projection")->type.getElementType());
  };
  psiV.kept = false;
  psiV.setting = "psiv_cache", psiV.gate = "CPPMEGA_MAMBA3_P2_PSIV_CACHE";
  psiV.trade = "is written and read to save one multiplication per number";
  psiV.nothing = "variant siso has no mimo_x"; // psi_v would be x itself
  return psiV;
}

void megacc::addMamba3Records(std::vector<Record> &records) {
  auto tuning = [](const KernelQuery &query) {
    return std::vector<std::pair<std::string, int64_t>>{{"window", kWindow}, {"parts", countParameters(query)}};
  };
  Record scan = makeRecord("mamba3_scan"), grad = makeRecord("mamba3_scan_grad");
  scan.tuning = grad.tuning = tuning;
  scan.refuses = grad.refuses = refuse;
  scan.scratch = [](const KernelQuery &query) { return ScanSizes(query).getForwardScratch(); };
  grad.scratch = [](const KernelQuery &query) { return ScanSizes(query).getBackwardScratch(query.has("states")); };
  scan.caches = {makeCache("states",
                           [](const KernelQuery &query) {
                             ScanSizes size(query);
                             return llvm::SmallVector<int64_t>{size.batch, size.heads, size.countWindows(), size.state, size.headDim};
                           }),
                 makePsiV()};
  records.push_back(scan);
  records.push_back(grad);

  Record norm = makeRecord("mamba3_state_norm");
  norm.tuning = tuning;
  norm.refuses = refuse;
  norm.scratch = [](const KernelQuery &query) {
    ScanSizes size(query);
    return size.getForwardScratch() + doubles(size.batch * size.heads);
  };
  records.push_back(norm);
  records.push_back(makeRecord("state_gate"));
  records.push_back(makeRecord("state_gate_grad"));
}
