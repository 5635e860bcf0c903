// megacc inspect: what a compiled step says about itself.
#pragma once
#include <string>

namespace megacc {

/// Checks a step.so's hash and prints its descriptor, receipt and hash to the standard output: a page of text, or {"file", "bytes", "hash",
/// "declaration_hash", "descriptor"} with the whole descriptor (docs/descriptor.md). Returns the exit status; errors go to the standard
/// error.
int inspect(const std::string &path, bool isJson);

} // namespace megacc
