// Continuing a text with a trained model.
#pragma once
#include "runtime/core/Step.h"

#include <string>

namespace megacc::runtime {

/// Prints `prompt` and the `count` tokens drawn after it, as bytes; each costs a forward of the whole sequence. Draws come from the softmax
/// at temperature 0.7, from the stream "sample" of the model's seed: the same call prints the same text.
void sample(Step &step, const std::string &prompt, int64_t count);

} // namespace megacc::runtime
