#include "dialects/Mega/Pattern.h"

#include <algorithm>
#include <cctype>

namespace megacc::mega {
namespace {

constexpr int most_groups_inside = 64;

std::string tooManyBlocks() { return "the pattern expands to more than " + std::to_string(most_blocks) + " blocks; fix: fewer repeats"; }

class Parser {
public:
  Parser(std::string_view text, Pattern &pattern) : text(text), pattern(pattern) {}

  std::vector<PatternSlot> parse() {
    std::vector<PatternSlot> slots = sequence(0);
    while (at < text.size()) { // only an unmatched `)` stops a sequence early
      error(at, "')' without '('; fix: remove it or open the group");
      ++at;
      std::vector<PatternSlot> more = sequence(0);
      slots.insert(slots.end(), more.begin(), more.end());
    }
    return slots;
  }

private:
  void error(int64_t position, std::string message) {
    pattern.errors.push_back({position, std::move(message)});
    if (pattern.errors.size() >= (text.size() > 200 ? 1 : 8)) // each prints its line
      stop();
  }

  /// What follows is not read.
  void stop() {
    stopped = true;
    at = text.size();
  }

  std::vector<PatternSlot> sequence(int depth) {
    std::vector<PatternSlot> slots;
    while (at < text.size()) {
      unsigned char c = text[at];
      int64_t here = at;
      if (int64_t(slots.size()) > most_blocks) { // nothing of that size is built any further
        error(here, tooManyBlocks());
        stop();
        break;
      }
      if (c == ')')
        break;
      ++at;
      if (std::isspace(c))
        continue;
      if (c == '(') {
        std::vector<PatternSlot> body = group(here, depth);
        slots.insert(slots.end(), body.begin(), body.end());
      } else if (c == '|' && depth > 0)
        error(here, "'|' inside a group; fix: cut stages between groups");
      else if (c == '|')
        pattern.stage_cuts.push_back(slots.size());
      else if ((c == 'x' || c == 'X') && at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) {
        error(here, "a repeat must follow a group; fix: write (AB)x2");
        number();
      } else if (c == '\\')
        error(here, "a backslash is not a letter");
      else if (c >= 0x80) {
        error(here, "a character outside ASCII is not a letter; fix: use A-Z");
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
          ++at;
      } else if (std::isalpha(c))
        slots.push_back({static_cast<char>(std::toupper(c)), here});
      else
        error(here, std::string("unknown letter '") + char(c) + "' in the pattern; fix: use A-Z, (...)xN, '|' and blanks");
    }
    return slots;
  }

  std::vector<PatternSlot> group(int64_t open, int depth) {
    if (depth == most_groups_inside) {
      error(open, "more than " + std::to_string(most_groups_inside) + " groups inside each other; fix: close them");
      stop();
      return {};
    }
    std::vector<PatternSlot> body = sequence(depth + 1), repeated;
    if (at >= text.size()) {
      if (!stopped)
        error(open, "'(' without ')'; fix: close the group");
      return body;
    }
    ++at;
    if (at >= text.size() || (text[at] != 'x' && text[at] != 'X') || at + 1 >= text.size() ||
        !std::isdigit(static_cast<unsigned char>(text[at + 1])))
      return body;
    int64_t place = at++, count = number();
    if (count == 0)
      error(place, "a repeat of 0 leaves nothing; fix: repeat at least once or remove the group");
    if (count * int64_t(body.size()) > most_blocks) {
      error(place, tooManyBlocks());
      return body;
    }
    for (int64_t i = 0; i < count; ++i)
      repeated.insert(repeated.end(), body.begin(), body.end());
    return repeated;
  }

  int64_t number() {
    int64_t value = 0;
    for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])); ++at)
      value = std::min<int64_t>(value * 10 + (text[at] - '0'), most_blocks + 1);
    return value;
  }

  std::string_view text;
  Pattern &pattern;
  size_t at = 0;
  bool stopped = false;
};

} // namespace

Pattern expandPattern(std::string_view text, int64_t depth) {
  Pattern pattern;
  std::vector<PatternSlot> tile = Parser(text, pattern).parse();
  if (!pattern.errors.empty())
    return pattern;
  if (int64_t(tile.size()) > most_blocks)
    pattern.errors.push_back({0, tooManyBlocks()});
  if (tile.empty())
    pattern.errors.push_back({0, "the pattern is empty; fix: write at least one letter"});
  if (depth < 1)
    pattern.errors.push_back({0, "depth is " + std::to_string(depth) + ", a model needs at least 1 block"});
  else if (depth > most_blocks)
    pattern.errors.push_back(
        {0, "depth is " + std::to_string(depth) + ", a model has at most " + std::to_string(most_blocks) + " blocks; fix: fewer"});
  else if (!pattern.stage_cuts.empty() && int64_t(tile.size()) != depth)
    pattern.errors.push_back({0, "a pattern with '|' does not tile: it has " + std::to_string(tile.size()) + " blocks, depth is " +
                                     std::to_string(depth) + "; fix: make them equal or remove the bars"});
  if (!pattern.errors.empty())
    return pattern;
  for (int64_t i = 0; i < depth; ++i)
    pattern.slots.push_back(tile[i % tile.size()]);
  return pattern;
}

} // namespace megacc::mega
