// What the records of the cpu target share.
#include "lib/Kernels/Cpu.h"

namespace megacc::cpu {

Record makeRecord(llvm::StringRef family) {
  Record record;
  record.name = ("cpu." + family).str();
  record.target = "cpu";
  record.family = family.str();
  record.symbol = ("mg_" + family).str();
  return record;
}

/// The record with one more integer parameter.
static Record addTuning(Record record, llvm::StringRef name, std::function<int64_t(const KernelQuery &)> value) {
  record.tuning = [tuning = record.tuning, name = name.str(), value = std::move(value)](const KernelQuery &query) {
    auto parameters = tuning ? tuning(query) : std::vector<std::pair<std::string, int64_t>>();
    parameters.emplace_back(name, value(query));
    return parameters;
  };
  return record;
}

void addWithAccumulation(std::vector<Record> &records, const Record &record, llvm::StringRef sum) {
  records.push_back(addTuning(record, "accumulate", [](const KernelQuery &) { return 0; }));
  auto getAccumulate = [](const KernelQuery &query) { return query.findInt("accumulate.accumulate").value_or(0); };
  Record fused = addTuning(record, "accumulate", getAccumulate);
  fused.name += "+accumulate";
  fused.family += "+accumulate";
  fused.renamed.emplace_back(sum.str(), "accumulate.sum");
  fused.refuses = [getAccumulate, refuses = record.refuses](const KernelQuery &query) -> std::string {
    int64_t accumulate = getAccumulate(query);
    if (accumulate != 1 && accumulate != 2)
      return "accumulate.accumulate is " + std::to_string(accumulate) + ", expected 1 or 2";
    for (const auto &[name, value] : query.doubles)
      if (name == "accumulate.scale" && value != 1.0)
        return "accumulate.scale is " + std::to_string(value) + ", expected 1";
    return refuses ? refuses(query) : "";
  };
  records.push_back(fused);
}

Cache makeCache(llvm::StringRef name, std::function<llvm::SmallVector<int64_t>(const KernelQuery &)> shape, bool kept) {
  auto type = [shape = std::move(shape)](const KernelQuery &query) {
    mlir::MLIRContext *context = query.operands.front().type.getContext();
    return mlir::RankedTensorType::get(shape(query), mlir::Float32Type::get(context));
  };
  return {name.str(), type, kept};
}

} // namespace megacc::cpu
