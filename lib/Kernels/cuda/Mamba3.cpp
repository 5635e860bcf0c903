// sm_90a records of the Mamba-3 scan.
#include "lib/Kernels/Kernels.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>

using namespace mlir;

namespace megacc {

/// Tokens between two cached states, and the most that the kernels can walk at a time.
static constexpr int64_t kWindow = 256, kMaxWindow = 256;
/// Rows of a chunk, and blocks that fill a card: the backward has the states of that many chunks of a group at a time.
static constexpr int64_t kRows = 64, kSliceBlocks = 2048;
/// Heads of all batch rows from which on a block walks a whole head.
static constexpr int64_t kWholeHeads = 96;

namespace {

/// As runtime/kernels/mamba3/CudaScan.cuh pads the sizes and forward.cu and backward.cu carve their scratch.
struct ScanSizes {
  explicit ScanSizes(const KernelQuery &query)
      : batch(query.getInt("batch")), sequence(query.getInt("sequence")), heads(query.getInt("heads")), groups(query.getInt("groups")),
        headDim(query.getInt("head_dim")), state(query.getInt("state")), window(query.findInt("window").value_or(kWindow)),
        hasNorm(query.getInt("out_norm")), tokens(batch * sequence), windows(llvm::divideCeil(sequence, window)) {
    int64_t rank = query.getInt("rank");
    P = headDim > 64 ? 128 : 64, N = state > 64 || P == 128 ? 128 : 64, R = rank > 4 ? 8 : rank > 1 ? 4 : 1;
    A = llvm::alignTo(query.getInt("angles"), 8);
  }

  int64_t getTables() const {
    return room(2 * N, 4) + room(2 * heads * R * N, 2) + 3 * room(heads * R * P, 4) + room(heads * P, 4) +
           room(2 * tokens * groups * R * N, 2) + room(tokens * A, 4) + 4 * room(tokens * heads, 4) + room(tokens * heads * A, 4);
  }
  int64_t getWindowStates() const { return windows > 1 && batch * heads >= kWholeHeads ? 0 : getTotals(); }
  int64_t getTotals() const { return room(batch * heads * windows * N * P, 4) + room(batch * heads * windows, 4); }
  int64_t getForwardScratch() const { return getTables() + getWindowStates(); }

  int64_t getBackwardScratch(bool cached) const {
    int64_t chunks = llvm::divideCeil(sequence, kRows / R), slices = std::max<int64_t>(1, groups * chunks / kSliceBlocks);
    int64_t sliceHeads = llvm::divideCeil(groups, slices) * (heads / groups), parameters = 2 * R * N + 3 * R * P + P + 8;
    int64_t states = cached ? 0 : getWindowStates() + room(batch * heads * windows * state * headDim, 2);
    int64_t slice = 2 * room(sliceHeads * chunks * N * P, 2) + room(sliceHeads * windows * N * P, 4) + room(sliceHeads * windows, 4) +
                    room(sliceHeads * windows * N * P, 2) + room(sliceHeads * chunks, 4) +
                    (hasNorm ? room(sliceHeads * chunks * kRows * P, 2) : 0) + room(sliceHeads * chunks * parameters, 4);
    return getTables() + states + slice + room(heads * parameters, 4) + 4 * room(tokens * heads, 4) + 2 * room(tokens * heads * A, 4) +
           room(2 * tokens * groups * R * N, 4) + room(batch * heads, 4) + room(llvm::divideCeil(tokens, 16) * 2 * N, 4);
  }

  int64_t batch, sequence, heads, groups, headDim, state, window;
  bool hasNorm;
  int64_t tokens, windows, N, P, R, A;

private:
  /// Bytes of an array, as runtime/core/Scratch.h hands them out.
  static int64_t room(int64_t count, int64_t elementBytes) { return llvm::alignTo(count * elementBytes, 64); }
};

} // namespace

static int64_t countParameters(const KernelQuery &query) {
  return llvm::count_if(query.operands, [](const LaunchOperand &operand) { return operand.name == "parameter"; });
}

static constexpr const char *kNoPsiV = "x * mimo_x costs less than reading it";

static std::string refuse(const KernelQuery &query) {
  int64_t mimo = query.getInt("mimo"), expected = 6 + (mimo ? 3 : 0) + (query.getInt("out_norm") ? 1 : 0), parts = countParameters(query);
  if (parts != expected && parts != expected + 1) // one more with a state gate
    return ("parts is " + llvm::Twine(parts) + ", expected " + llvm::Twine(expected) + " or " + llvm::Twine(expected + 1)).str();
  for (auto [name, most] :
       {std::pair{"rank", int64_t(mimo ? 8 : 1)}, {"head_dim", 128}, {"state", 128}, {"angles", query.getInt("state") / 2}})
    if (query.getInt(name) > most)
      return (name + llvm::Twine(" is ") + llvm::Twine(query.getInt(name)) + ", at most " + llvm::Twine(most)).str();
  if (query.getInt("state") % 2)
    return ("state is " + llvm::Twine(query.getInt("state")) + ", expected an even number").str();
  if (int64_t window = query.findInt("window").value_or(kWindow); window % kRows || window > kMaxWindow)
    return ("window is " + llvm::Twine(window) + ", expected a multiple of " + llvm::Twine(kRows) + ", at most " + llvm::Twine(kMaxWindow))
        .str();
  for (const LaunchOperand &operand : query.operands) {
    Type type = operand.type.getElementType();
    bool isParameter = operand.name == "parameter", isBf16 = type.isBF16();
    bool isActivation = llvm::is_contained({"projection", "y", "d_y", "d_projection", "states"}, operand.name);
    if (operand.name == "psi_v")
      return "psi_v is there, expected none: " + std::string(kNoPsiV);
    if ((isActivation && !isBf16) || (isParameter && !isBf16 && !type.isF32())) {
      std::string text;
      llvm::raw_string_ostream(text) << operand.name << " has type " << type << ", expected " << (isParameter ? "bf16 or f32" : "bf16");
      return text;
    }
  }
  return "";
}

/// After the records of the cpu target.
void addMamba3CudaRecords(std::vector<Record> &records) {
  for (bool backward : {false, true}) {
    Record record;
    record.family = backward ? "mamba3_scan_grad" : "mamba3_scan";
    record.name = "sm_90a." + record.family, record.target = "sm_90a", record.symbol = "mg_" + record.family;
    record.refuses = refuse;
    record.tuning = [](const KernelQuery &query) {
      return std::vector<std::pair<std::string, int64_t>>{{"window", kWindow}, {"parts", countParameters(query)}};
    };
    record.scratch = [backward](const KernelQuery &query) {
      ScanSizes size(query);
      return backward ? size.getBackwardScratch(query.has("states")) : size.getForwardScratch();
    };
    if (!backward) {
      Cache psiV = makePsiV();
      psiV.refusal = kNoPsiV;
      record.caches = {{"states",
                        [](const KernelQuery &query) {
                          ScanSizes size(query);
                          Type bf16 = query.find("projection")->type.getElementType();
                          return RankedTensorType::get({size.batch, size.heads, size.windows, size.state, size.headDim}, bf16);
                        }},
                       psiV};
    }
    records.push_back(record);
  }
  // Totals and decays of all windows, and a norm for each row and head.
  Record norm = *llvm::find_if(records, [](const Record &record) { return record.name == "sm_90a.mamba3_scan"; });
  norm.family = "mamba3_state_norm", norm.name = "sm_90a.mamba3_state_norm", norm.symbol = "mg_mamba3_state_norm";
  norm.caches = {};
  norm.scratch = [](const KernelQuery &query) {
    ScanSizes size(query);
    return size.getTables() + size.getTotals() + llvm::alignTo(4 * size.batch * size.heads, 64);
  };
  records.push_back(norm);
}

} // namespace megacc
