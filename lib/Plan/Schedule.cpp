#include "lib/Plan/Schedule.h"

#include <map>

namespace megacc {

Schedule readSchedule(mlir::ModuleOp launches, llvm::StringRef function) {
  struct Life {
    int64_t bytes = 0, offset = 0;
    int first = 0, last = 0;
  };
  Schedule schedule;
  std::map<int64_t, Life> lives; // by value; scratch below 0
  for (auto func : launches.getOps<rt::FuncOp>())
    if (func.getSymName() == function)
      for (auto call : func.getBody().getOps<rt::CallOp>()) {
        int position = schedule.calls.size();
        schedule.calls.push_back(call);
        for (const rt::Access &access : rt::getAccesses(call)) {
          rt::RangeAttr range = access.range;
          if (range.getSegment() != MG_TEMPORARIES || !range.getBytes())
            continue;
          int64_t name = range.getValue() < 0 ? -1 - position : range.getValue();
          auto [life, isNew] = lives.try_emplace(name, Life{range.getBytes(), range.getOffset(), position, position});
          life->second.last = position;
        }
      }
  // A result that takes an operand's place begins at the launch where the operand ends.
  std::map<std::pair<int64_t, int>, Life *> ends; // by offset and last launch
  for (auto &[name, life] : lives)
    if (name >= 0 && life.first < life.last)
      ends[{life.offset, life.last}] = &life;
  for (auto &[name, life] : lives)
    if (auto before = ends.find({life.offset, life.first}); name >= 0 && before != ends.end())
      --before->second->last;
  auto isOfBackward = [&](int launch) {
    return schedule.calls[launch]->hasAttr(rt::kBackwardAttr) || schedule.calls[launch]->hasAttr(rt::kRecomputeAttr);
  };
  for (const auto &[name, life] : lives) {
    ValueClass kind = name < 0                                                  ? kScratch
                      : schedule.calls[life.first]->hasAttr(rt::kRecomputeAttr) ? kAgain
                      : isOfBackward(life.first)                                ? kBackward
                      : isOfBackward(life.last)                                 ? kKept
                                                                                : kForward;
    schedule.values.push_back({life.bytes, life.first, life.last, kind});
  }
  return schedule;
}

std::vector<Schedule::Alive> Schedule::countAlive() const {
  std::vector<Alive> alive(calls.size() + 1, Alive{});
  for (const Value &value : values)
    alive[value.first][value.kind] += value.bytes, alive[value.last + 1][value.kind] -= value.bytes;
  for (size_t i = 1; i < alive.size(); ++i)
    for (int kind = 0; kind < kValueClasses; ++kind)
      alive[i][kind] += alive[i - 1][kind];
  alive.pop_back();
  return alive;
}

} // namespace megacc
