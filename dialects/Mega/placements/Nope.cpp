// nope: fewer rotated channels in one block, or none (conventions 6.9).
#include "dialects/Mega/placements/Nope.h"
#include "dialects/Mega/Spec.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

namespace megacc::mega {

int64_t rotatedPairs(int64_t width, double share) { return int64_t(std::floor(double(width / 2) * (1 - share) + 0.5)); }

namespace {

std::string print(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", value);
  return text;
}

void check(const KeyValues &keys, const Model &, ErrorAt error) {
  if (double share = keys.getFloat("share"); keys.has("share") && !(share > 0 && share <= 1)) // mega.nope.c1
    error("share") << "share = " << print(share) << " must be above 0 and at most 1";
}

void complete(KeyValues &keys, const Model &, const KeyValues &family, ErrorAt error) {
  double share = keys.getFloat("share");
  if (!family.has("rope") || !(share > 0 && share <= 1))
    return;
  int64_t rope = family.getInt("rope"), pairs = rope / 2;
  if (rotatedPairs(rope, share) == pairs) // mega.nope.c2
    error("share") << "nope<share = " << print(share) << "> leaves all " << pairs << " pairs rotated";
}

} // namespace

PlacementSpec nopePlacement() {
  return {.word = "nope", .families = {"mla", "attention"}, .keys = {keys::number("share", 1.0)}, .check = check, .complete = complete};
}

} // namespace megacc::mega
