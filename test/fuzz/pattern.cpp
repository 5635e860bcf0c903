// The pattern language: two bytes of depth, then the text.
#include "dialects/Mega/Pattern.h"
#include "test/fuzz/FuzzSupport.h"

using namespace megacc::mega;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return -1;
  int64_t depth = int16_t(data[0] | data[1] << 8);
  std::string_view text(reinterpret_cast<const char *>(data) + 2, size - 2);
  Pattern pattern = expandPattern(text, depth);
  for (const PatternError &error : pattern.errors)
    require(error.position >= 0 && error.position <= int64_t(text.size()) && !error.message.empty(), "an error has a place and a text");
  if (!pattern.errors.empty())
    return 0;
  require(int64_t(pattern.slots.size()) == depth, "there is a slot for every block");
  for (const PatternSlot &slot : pattern.slots)
    require(slot.letter >= 'A' && slot.letter <= 'Z' && (text[slot.position] & ~0x20) == slot.letter, "a slot points at its letter");
  for (int64_t cut : pattern.stage_cuts)
    require(cut >= 0 && cut <= depth, "a stage begins inside the model");
  return 0;
}
