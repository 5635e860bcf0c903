// What --version of a program says.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace megacc {

/// The program's release, then a line each: `parts` ({"LLVM", "22.1.8"}), ABI of step.so, how it was built, and which matrix products the
/// kernel library beside the program takes on this processor, or why it cannot be opened.
std::string describeBuild(const std::string &program, const std::vector<std::pair<std::string, std::string>> &parts = {});

} // namespace megacc
