// The pattern language: letters, groups and repeats `(AEME)x12`, `|` for stage cuts, blanks ignored, case folded.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace megacc::mega {

/// The most blocks of a model: four thousand take a minute to compile.
constexpr int64_t most_blocks = 4096;

struct PatternError {
  int64_t position; // byte in the text
  std::string message;
};

struct PatternSlot {
  char letter;
  int64_t position; // byte of the letter in the text
};

struct Pattern {
  std::vector<PatternSlot> slots;   // one per block, tiled over the depth
  std::vector<int64_t> stage_cuts;  // block before which a `|` stands
  std::vector<PatternError> errors; // if not empty, slots are not to be used
};

/// Expands `text` over `depth` blocks. Without bars it tiles and may end mid-tile; with bars its length must equal the depth.
Pattern expandPattern(std::string_view text, int64_t depth);

} // namespace megacc::mega
