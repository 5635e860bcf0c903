// When every value of a function is needed.
#include "lib/Lifetimes/Lifetimes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace megacc {

Lifetimes::Lifetimes(step::FuncOp func) : body(&func.getBody().front()) {
  for (Operation &op : body->without_terminator())
    if (auto kernel = dyn_cast<step::KernelOpInterface>(op)) {
      positions[&op] = launches.size();
      launches.push_back({&op, kernel.getKernelQuery(), findRecord(op.getAttrOfType<StringAttr>(step::kRecordAttr).getValue())});
    }
  for (auto [index, launch] : llvm::enumerate(launches)) {
    int64_t position = index;
    SmallVector<int> taken; // buffers of operands that results of this launch took over
    for (Value result : launch.op->getResults()) {
      numbers[result] = numbers.size();
      int64_t last = getLastUse(result, position);
      int reused = findReusable(launch, result, position, taken);
      if (reused >= 0) {
        taken.push_back(reused);
        buffers[reused].last = last;
        places[result] = reused;
      } else {
        places[result] = buffers.size();
        buffers.push_back({step::getBytes(result.getType()), position, last});
      }
    }
    if (int64_t bytes = launch.record->getScratch(launch.query)) {
      launch.scratch = buffers.size();
      buffers.push_back({bytes, position, position});
    }
  }
}

int Lifetimes::getBuffer(Value value) const {
  auto found = places.find(value);
  return found == places.end() ? -1 : found->second;
}

int64_t Lifetimes::getNumber(Value value) const {
  auto found = numbers.find(value);
  return found == numbers.end() ? -1 : found->second;
}

/// The last launch that uses a value; its own where none does. Ops inside a fused group count as the group.
int64_t Lifetimes::getLastUse(Value value, int64_t position) const {
  for (Operation *user : value.getUsers())
    if (auto found = positions.find(body->findAncestorOpInBlock(*user)); found != positions.end())
      position = std::max(position, found->second);
  return position;
}

/// The buffer of an operand that dies here and whose place the result may take, -1 without one.
int Lifetimes::findReusable(const BoundLaunch &launch, Value result, int64_t position, ArrayRef<int> taken) const {
  for (const auto &[output, input] : launch.record->inPlace) {
    const LaunchOperand *to = launch.query.find(launch.record->getQueryName(output));
    const LaunchOperand *from = launch.query.find(launch.record->getQueryName(input));
    if (!to || !from || to->value != result || !from->value)
      continue;
    auto place = places.find(from->value);
    if (place == places.end() || llvm::is_contained(taken, place->second) || step::getBytes(to->type) != step::getBytes(from->type))
      continue;
    int64_t uses = llvm::count_if(launch.query.operands, [&](const LaunchOperand &operand) { return operand.value == from->value; });
    if (uses == 1 && getLastUse(from->value, position) == position)
      return place->second;
  }
  return -1;
}

} // namespace megacc
