#include "runtime/train/MetricsLog.h"
#include "runtime/state/FileSystem.h"

#include <cerrno>

namespace fs = std::filesystem;

namespace megacc::runtime {

MetricsLog::MetricsLog(const fs::path &path, const fs::path &resumed, int64_t resumed_step, bool writes) : path(path), writes(writes) {
  std::string kept;
  std::ifstream old(resumed);
  for (std::string line; resumed_step > 0 && std::getline(old, line);) {
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer() || entry["step"] > resumed_step)
      continue;
    kept += line + "\n";
    if (entry.contains("loss") && entry["loss"].is_number())
      note(entry["loss"]);
  }
  old.close();
  if (!writes)
    return;
  fs::path partial = path.string() + ".partial";
  file.open(partial, std::ios::trunc);
  file << kept;
  check();
  file.close();
  std::error_code error;
  fs::rename(partial, path, error);
  if (error)
    throw FileError(path.string() + ": cannot replace: " + describeWriteError(error.value()));
  file.open(path, std::ios::app);
  check();
}

void MetricsLog::add(const nlohmann::ordered_json &entry) {
  if (!writes)
    return;
  file << entry.dump() << "\n";
  check();
}

void MetricsLog::check() {
  if (!file.flush())
    throw FileError(path.string() + ": cannot write: " + describeWriteError(errno));
}

} // namespace megacc::runtime
