// metrics.jsonl of a run.
#pragma once
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

namespace megacc::runtime {

/// One JSON object per line. A resumed run drops what was logged after its checkpoint.
class MetricsLog {
public:
  /// `resumed`: the log of the run that goes on after `resumed_step` steps; it stays whole whatever happens. Where it does not write, as on
  /// all ranks but the first, it keeps losses alone. Throws FileError.
  MetricsLog(const std::filesystem::path &path, const std::filesystem::path &resumed, int64_t resumed_step, bool writes = true);

  /// Throws FileError.
  void add(const nlohmann::ordered_json &entry);

  /// The first and the last finite loss of the whole run, what was resumed included.
  std::optional<double> first_loss, last_loss;
  void note(double loss) {
    first_loss = first_loss.value_or(loss);
    last_loss = loss;
  }

private:
  void check();

  std::filesystem::path path;
  bool writes;
  std::ofstream file;
};

} // namespace megacc::runtime
