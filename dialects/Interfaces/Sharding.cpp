#include "dialects/Interfaces/Sharding.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace megacc {

static constexpr StringLiteral kAxisNames[MG_AXIS_COUNT] = {"dp", "tp", "ep"};

StringRef getAxisName(int64_t axis) { return kAxisNames[axis]; }

std::optional<int64_t> findAxis(StringRef name) {
  for (auto [axis, known] : enumerate(kAxisNames))
    if (known == name)
      return axis;
  return std::nullopt;
}

Spread Spread::split(unsigned dim, ArrayRef<Piece> pieces) {
  Spread spread{Share::Split, dim, {}};
  for (Piece piece : pieces) {
    if (!piece.size)
      continue;
    if (piece.share != Share::Split)
      piece.block = piece.size;
    if (!spread.pieces.empty() && spread.pieces.back().share == piece.share) {
      Piece &last = spread.pieces.back();
      if (piece.share != Share::Split) {
        llvm::AddOverflow(last.size, piece.size, last.size); // whoever counts elements refuses sizes this large
        last.block = last.size;
        continue;
      }
      if (last.block == piece.block) {
        llvm::AddOverflow(last.size, piece.size, last.size);
        continue;
      }
    }
    spread.pieces.push_back(piece);
  }
  if (spread.pieces.empty())
    return {};
  if (spread.pieces.size() == 1 && spread.pieces.front().share != Share::Split)
    return {spread.pieces.front().share, 0, {}};
  return spread;
}

bool Spread::has(Share share) const {
  return kind == share || any_of(pieces, [&](const Piece &piece) { return piece.share == share; });
}

Spread Spread::summed() const {
  if (kind == Share::Partial)
    return {};
  if (kind != Share::Split)
    return *this;
  std::vector<Piece> whole = pieces;
  for (Piece &piece : whole)
    if (piece.share == Share::Partial)
      piece.share = Share::Whole;
  return split(dim, whole);
}

int64_t getLocalSize(ArrayRef<Piece> pieces, int64_t ranks) {
  int64_t size = 0;
  for (const Piece &piece : pieces)
    size += piece.share == Share::Split ? piece.size / ranks : piece.size;
  return size;
}

std::string Sharding::str() const {
  std::string text;
  for (auto [axis, spread] : enumerate(axes)) {
    if (spread.kind == Share::Whole)
      continue;
    text += (text.empty() ? "" : "; ") + kAxisNames[axis].str() + " ";
    if (spread.kind != Share::Split) {
      text += spread.kind == Share::Partial ? "+" : "~";
      continue;
    }
    text += utostr(spread.dim) + ":";
    for (auto [index, piece] : enumerate(spread.pieces)) {
      text += index ? "," : "";
      if (piece.size != piece.block)
        text += itostr(piece.size / piece.block) + "x";
      text += itostr(piece.block) + (piece.share == Share::Split ? "/" : piece.share == Share::Partial ? "+" : "");
    }
  }
  return text;
}

/// "4x64/", "128/", "5" or "3+".
static std::optional<Piece> parsePiece(StringRef text) {
  Piece piece;
  piece.share = text.consume_back("/") ? Share::Split : text.consume_back("+") ? Share::Partial : Share::Whole;
  int64_t count = 1;
  if (auto [first, second] = text.split('x'); !second.empty()) {
    if (first.getAsInteger(10, count))
      return std::nullopt;
    text = second;
  }
  if (text.getAsInteger(10, piece.block) || piece.block < 1 || count < 1)
    return std::nullopt;
  piece.size = piece.block * count;
  return piece;
}

std::optional<Sharding> Sharding::parse(StringRef text) {
  Sharding sharding;
  SmallVector<StringRef> parts;
  text.split(parts, "; ", -1, /*KeepEmpty=*/false);
  for (StringRef part : parts) {
    auto [name, rest] = part.split(' ');
    std::optional<int64_t> axis = findAxis(name);
    if (!axis)
      return std::nullopt;
    Spread &spread = sharding.axes[*axis];
    if (rest == "+" || rest == "~") {
      spread.kind = rest == "+" ? Share::Partial : Share::Private;
      continue;
    }
    auto [dim, list] = rest.split(':');
    unsigned number;
    if (dim.getAsInteger(10, number))
      return std::nullopt;
    SmallVector<StringRef> words;
    list.split(words, ',');
    std::vector<Piece> pieces;
    for (StringRef word : words) {
      std::optional<Piece> piece = parsePiece(word);
      if (!piece)
        return std::nullopt;
      pieces.push_back(*piece);
    }
    spread = Spread::split(number, pieces);
  }
  return sharding;
}

SmallVector<int64_t> Sharding::getLocalShape(ArrayRef<int64_t> shape, ArrayRef<int64_t> ranks) const {
  SmallVector<int64_t> local(shape);
  for (auto [axis, spread] : enumerate(axes))
    if (spread.kind == Share::Split)
      local[spread.dim] = local[spread.dim] * getLocalSize(spread.pieces, ranks[axis]) / getLocalSize(spread.pieces, 1);
  return local;
}

} // namespace megacc
