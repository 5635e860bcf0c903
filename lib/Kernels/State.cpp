// Records of sums, copies, norm and optimizer.
#include "lib/Kernels/Cpu.h"

using namespace megacc;
using namespace megacc::cpu;

/// The number of parts, from the operands.
static std::vector<std::pair<std::string, int64_t>> countParts(const KernelQuery &query) {
  int64_t parts = llvm::count_if(query.operands, [](const LaunchOperand &operand) { return operand.name == "part"; });
  return {{"parts", parts}};
}

void megacc::addStateRecords(std::vector<Record> &records) {
  records.push_back(makeRecord("accumulate"));
  records.push_back(makeRecord("copy"));
  Record zero = makeRecord("zero");
  zero.symbol = "mg_fill_zero";
  addWithAccumulation(records, zero, "y");
  Record terms = makeRecord("accumulate_terms");
  terms.tuning = countParts;
  records.push_back(terms);

  for (const char *family : {"square_sum", "log_norm"}) {
    Record squares = makeRecord(family);
    squares.scratch = [](const KernelQuery &query) { return doubles(llvm::divideCeil(query.getInt("count"), 4096)); };
    records.push_back(squares);
  }
  Record norm = makeRecord("norm");
  norm.tuning = countParts;
  records.push_back(norm);
  Record adamw = makeRecord("adamw");
  adamw.refuses = [](const KernelQuery &query) -> std::string {
    return query.has("master") ? "there is a master, but the weights are f32" : "";
  };
  records.push_back(adamw);
  Record rounded = makeRecord("adamw_rounded");
  rounded.refuses = adamw.refuses;
  rounded.table = [](const KernelQuery &query) { return query.table; };
  records.push_back(rounded);
  Record muon = makeRecord("muon");
  muon.refuses = adamw.refuses, muon.table = rounded.table;
  muon.scratch = [](const KernelQuery &query) {
    int64_t rows = query.getInt("piece_rows"), cols = query.getInt("cols"), side = std::min(rows, cols);
    return 2 * floats(rows * cols) + 2 * floats(side * side) + doubles(rows);
  };
  records.push_back(muon);

  Record fire = makeRecord("fire");
  fire.refuses = adamw.refuses, fire.scratch = muon.scratch;
  records.push_back(fire);
  Record dash = makeRecord("dash");
  dash.refuses = adamw.refuses;
  dash.scratch = [](const KernelQuery &query) {
    return doubles(query.getInt("experts") * query.getInt("pieces") * query.getInt("piece_rows"));
  };
  records.push_back(dash);
  Record redo = makeRecord("redo");
  redo.table = rounded.table;
  redo.refuses = [](const KernelQuery &query) -> std::string {
    return query.has("up_master") || query.has("down_master") ? "there is a master, but the weights are f32" : "";
  };
  records.push_back(redo);
  records.push_back(makeRecord("abs_column_sum"));
}
