#include "lib/Plan/Peak.h"
#include "dialects/Interfaces/OpPath.h"
#include "lib/Plan/Units.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <numeric>

namespace megacc {

Peak findPeak(const Schedule &schedule) {
  Peak peak;
  int at = -1, index = 0;
  for (const Schedule::Alive &alive : schedule.countAlive()) {
    if (int64_t bytes = std::accumulate(alive.begin(), alive.end(), int64_t(0)); bytes > peak.bytes)
      peak.bytes = bytes, at = index;
    ++index;
  }
  if (at < 0)
    return peak;
  auto getKernel = [&](int launch) { return rt::CallOp(schedule.calls[launch]).getKernel().drop_front(3).str(); };
  peak.path = getPath(schedule.calls[at]).str(), peak.kernel = getKernel(at);
  peak.is_again = schedule.calls[at]->hasAttr(rt::kRecomputeAttr);
  for (const Schedule::Value &value : schedule.values) {
    if (value.first > at || value.last < at)
      continue;
    std::string kernel = getKernel(value.first);
    auto row = llvm::find_if(
        peak.rows, [&](const Peak::Row &row) { return row.bytes == value.bytes && row.kernel == kernel && row.kind == value.kind; });
    if (row == peak.rows.end())
      row = peak.rows.insert(row, {value.bytes, kernel, {}, value.kind});
    row->paths.push_back(getPath(schedule.calls[value.first]).str());
  }
  llvm::stable_sort(peak.rows, [](const Peak::Row &a, const Peak::Row &b) {
    return a.bytes * int64_t(a.paths.size()) > b.bytes * int64_t(b.paths.size());
  });
  return peak;
}

std::string describePeak(const Peak &peak) {
  std::string text = "alive at the peak of a micro-batch, " + peak.path + " (" + peak.kernel + (peak.is_again ? ", computing again" : "") +
                     "): " + grouped(peak.bytes) + " bytes\n";
  llvm::raw_string_ostream os(text);
  for (const Peak::Row &row : llvm::ArrayRef(peak.rows).take_front(10)) {
    os << llvm::right_justify(std::to_string(row.paths.size()), 5) << " x" << llvm::right_justify(bytesText(double(row.bytes)), 14) << "  "
       << row.kernel << (row.kind == kScratch ? " (scratch)" : "") << ": " << row.paths.front();
    if (row.paths.size() > 1)
      os << (row.paths.size() > 2 ? ", ..., " : ", ") << row.paths.back();
    os << "\n";
  }
  text.pop_back();
  return text;
}

} // namespace megacc
