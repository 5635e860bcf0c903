// The inputs of a step from a corpus (conventions 18.3-4).
#pragma once
#include "runtime/core/Step.h"
#include "runtime/data/Source.h"

namespace megacc::runtime {

/// Throws ArtifactError naming every input of the step that corpora do not fill, or that has another type or shape than they give.
void checkInputs(const Step &step);

/// Stages the inputs of all micro-batches of step `step_index` (from 0): row r of micro-batch m is sample
/// (step_index * accumulate + m) * micro_batch + r of the stream "data".
void stageTrainingBatch(Step &step, const Source &source, int64_t step_index);

/// Mean loss over 64 windows of the stream "eval", rounded up to whole batches.
double evaluate(Step &step, const Source &source);

/// Throws DataError where a sequence of the model does not fit into the source.
void checkLength(const Step &step, const Source &source);

} // namespace megacc::runtime
