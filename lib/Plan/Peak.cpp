#include "lib/Plan/Peak.h"
#include "dialects/Interfaces/OpPath.h"
#include "dialects/Rt/Rt.h"

#include "llvm/ADT/STLExtras.h"

#include <map>

namespace megacc {

Peak findPeak(mlir::ModuleOp launches) {
  struct Life {
    int64_t bytes = 0, offset = 0;
    int first = 0, last = 0;
  };
  std::map<int64_t, Life> lives; // by value; scratch below 0
  std::vector<rt::CallOp> calls;
  for (auto func : launches.getOps<rt::FuncOp>())
    if (func.getSymName() == "micro_batch")
      for (auto call : func.getBody().getOps<rt::CallOp>()) {
        int position = calls.size();
        calls.push_back(call);
        for (const rt::Access &access : rt::getAccesses(call)) {
          rt::RangeAttr range = access.range;
          if (range.getSegment() != MG_TEMPORARIES || !range.getBytes())
            continue;
          int64_t name = range.getValue() < 0 ? -1 - position : range.getValue();
          auto [life, isNew] = lives.try_emplace(name, Life{range.getBytes(), range.getOffset(), position, position});
          life->second.last = position;
        }
      }
  if (calls.empty())
    return {};
  // A result that takes an operand's place begins at the launch where the operand ends.
  std::map<std::pair<int64_t, int>, Life *> ends; // by offset and last launch
  for (auto &[name, life] : lives)
    if (name >= 0 && life.first < life.last)
      ends[{life.offset, life.last}] = &life;
  for (auto &[name, life] : lives)
    if (auto before = ends.find({life.offset, life.first}); name >= 0 && before != ends.end())
      --before->second->last;
  std::vector<int64_t> alive(calls.size() + 1, 0);
  for (const auto &[name, life] : lives)
    alive[life.first] += life.bytes, alive[life.last + 1] -= life.bytes;
  Peak peak;
  int64_t bytes = 0;
  int at = 0;
  for (size_t i = 0; i < calls.size(); ++i)
    if ((bytes += alive[i]) > peak.bytes)
      peak.bytes = bytes, at = i;
  peak.path = getPath(calls[at]).str(), peak.kernel = calls[at].getKernel().str();
  peak.is_again = calls[at]->hasAttr(rt::kRecomputeAttr);
  for (const auto &[name, life] : lives)
    if (life.first <= at && at <= life.last)
      peak.values.push_back({getPath(calls[life.first]).str(), calls[life.first].getKernel().str(), life.bytes, name < 0});
  llvm::stable_sort(peak.values, [](const Peak::Value &a, const Peak::Value &b) { return a.bytes > b.bytes; });
  return peak;
}

} // namespace megacc
