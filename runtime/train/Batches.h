// The inputs of a step from a corpus (conventions 18.3-4).
#pragma once
#include "runtime/core/Step.h"
#include "runtime/data/Source.h"

#include <functional>
#include <optional>

namespace megacc::runtime {

/// Throws ArtifactError naming every input of the step that corpora do not fill, or that has another type or shape than they give.
void checkInputs(const Step &step);

/// Names of the sidecars that the step takes: "dep_level" of its input "structure.dep_level", "relation.chunk" and "relation.bits".
std::vector<std::string> wantedColumns(const Step &step);
/// The input that a sidecar fills.
std::string inputOfColumn(const std::string &column);
/// "NAME has no column ..." for every input of the step that the source lacks; "" where it lacks none.
std::string describeMissing(const Step &step, const Source &source, const std::string &name);

/// Stages the inputs of all micro-batches of step `step_index` (from 0): row r of micro-batch m is sample
/// (step_index * accumulate + m) * micro_batch + r of the stream "data"; a rank of a mesh stages its own rows. Returns how many targets are
/// not ignored, on the rank that has the most.
int64_t stageTrainingBatch(Step &step, const Source &source, int64_t step_index);

/// The loss summed over the targets that are not ignored.
struct Evaluation {
  double sum = 0, targets = 0;
  /// Nothing where every target is ignored.
  std::optional<double> loss() const { return targets > 0 ? std::optional(sum / targets) : std::nullopt; }
};

/// Over 64 windows of the stream "eval", rounded up to whole batches. `isStopped` is asked before every batch; nothing once it says so.
std::optional<Evaluation> evaluate(Step &step, const Source &source, const std::function<bool()> &isStopped);

/// Why no sample of the source can be learned from, with both numbers; "" where one can. `name` is for people.
std::string describeShortage(const Step &step, const Source &source, const std::string &name);
/// Throws DataError with it, or with describeMissing().
void checkLength(const Step &step, const Source &source);

} // namespace megacc::runtime
