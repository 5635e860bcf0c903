// sm_90a records of sums, copies, norm and optimizer.
#include "lib/Kernels/cuda/Cuda.h"

#include <algorithm>

using namespace megacc;
using namespace megacc::cuda;

/// What a product may use beside its operands (runtime/cuda/CublasLt.h).
static constexpr int64_t cublasWorkspaceBytes = int64_t(32) << 20;

/// A master belongs to a bf16 weight, and only to one.
static std::string refuseMaster(const KernelQuery &query) {
  bool isBf16 = query.find("weight")->type.getElementType().isBF16();
  if (isBf16 == query.has("master"))
    return "";
  return isBf16 ? "the weight is bf16 and there is no master" : "the weight is f32 and there is a master";
}

/// The kernels take the addresses of their parts with the launch.
static std::string refuseParts(const KernelQuery &query) {
  int64_t parts = llvm::count_if(query.operands, [](const LaunchOperand &operand) { return operand.name == "part"; });
  return parts > 256 ? "parts is " + std::to_string(parts) + ", at most 256" : "";
}

namespace megacc {

/// After the records of the cpu target.
void addStateCudaRecords(std::vector<Record> &records) {
  for (llvm::StringRef name : {"accumulate", "zero", "zero+accumulate", "accumulate_terms"})
    records.push_back(makeRecord(records, name));
  // Changes the type, too.
  Record copy = makeRecord(records, "copy");
  copy.refuses = nullptr;
  records.push_back(copy);

  for (const char *family : {"square_sum", "square_sum_shared", "log_norm"}) {
    Record squares = makeRecord(records, family);
    squares.scratch = [](const KernelQuery &query) {
      int64_t count = query.getInt("count") / (query.family == "square_sum_shared" ? query.getInt("ranks") : 1);
      return getRoom(std::clamp<int64_t>(llvm::divideCeil(count, 4096), 1, 1056) + (query.family == "log_norm"), 8);
    };
    records.push_back(squares);
  }
  // The parts are f64.
  Record norm = makeRecord(records, "norm");
  norm.refuses = refuseParts;
  records.push_back(norm);
  Record adamw = makeRecord(records, "adamw");
  adamw.refuses = refuseMaster;
  records.push_back(adamw);
  Record rounded = makeRecord(records, "adamw_rounded");
  rounded.refuses = refuseMaster;
  records.push_back(rounded);
  // The momentum of a piece and the square of its product in fp32; X twice, A and the polynomial of A in bf16; sides in multiples of 8.
  Record muon = makeRecord(records, "muon");
  muon.refuses = refuseMaster;
  muon.scratch = [](const KernelQuery &query) {
    int64_t rows = llvm::alignTo(query.getInt("piece_rows"), 8), cols = llvm::alignTo(query.getInt("cols"), 8), side = std::min(rows, cols);
    return getRoom(rows * cols, 4) + 2 * getRoom(rows * cols, 2) + getRoom(side * side, 4) + 2 * getRoom(side * side, 2) +
           getRoom(rows + 1, 8) + cublasWorkspaceBytes;
  };
  records.push_back(muon);

  Record fire = makeRecord(records, "fire");
  fire.refuses = refuseMaster;
  fire.scratch = [](const KernelQuery &query) {
    int64_t rows = query.getInt("piece_rows"), cols = query.getInt("cols"), side = std::min(rows, cols);
    return 2 * getRoom(rows * cols, 4) + 2 * getRoom(side * side, 4) + getRoom(rows + 1, 8);
  };
  records.push_back(fire);
  Record dash = makeRecord(records, "dash");
  dash.refuses = refuseMaster;
  dash.scratch = [](const KernelQuery &query) {
    return getRoom(query.getInt("experts") * query.getInt("pieces") * query.getInt("piece_rows"), 8);
  };
  records.push_back(dash);
  // Both weights have the model's type; a master is where that is bf16.
  Record redo = makeRecord(records, "redo");
  redo.refuses = nullptr;
  records.push_back(redo);
  records.push_back(makeRecord(records, "abs_column_sum"));
}

} // namespace megacc
