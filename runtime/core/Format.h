// Text by the patterns of printf.
#pragma once
#include <string>

namespace megacc::runtime {

std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

} // namespace megacc::runtime
