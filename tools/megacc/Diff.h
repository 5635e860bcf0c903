// megacc diff: what is different between two plans.
#pragma once
#include <string>

namespace megacc {

/// Compares two files of `megacc --emit=plan --json` and prints to the standard output what differs: totals, bytes by segment, milliseconds
/// by family, decisions that only one has; with `isJson` one object {"figures", "decisions"}. Returns the exit status, 0 whether they
/// differ or not; an error names the file that is no plan and what it lacks, for both files.
int diffPlans(const std::string &before, const std::string &after, bool isJson);

} // namespace megacc
