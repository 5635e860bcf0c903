// Heads, positions and attention.
#include "dialects/Step/Step.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace megacc;
using namespace megacc::step;

using Gradients = FailureOr<SmallVector<Value>>;

// Rope.

LogicalResult RopeOp::verify() {
  int64_t heads = getHeads(), dim = getHeadDim(), offset = getOffset(), width = getWidth(), sequence = getSequence();
  if (getY().getType() != getX().getType() || getDim(getX(), 1) != heads * dim)
    return emitOpError("has ") << heads << " heads of " << dim << " channels, but a tensor of " << getX().getType();
  if (offset < 0 || width <= 0 || width % 2 || offset + width > dim)
    return emitOpError("rotates channels ") << offset << " to " << offset + width << " of heads of " << dim
                                            << "; expected an even number of them inside";
  if (getPairs() && (int64_t(*getPairs()) <= 0 || int64_t(*getPairs()) >= width / 2))
    return emitOpError("turns ") << *getPairs() << " of " << width / 2 << " pairs; expected some of them, not all";
  if (sequence <= 0 || getDim(getX(), 0) % sequence)
    return emitOpError("has ") << getDim(getX(), 0) << " rows, not a multiple of the sequence " << sequence;
  return success();
}

SmallVector<Value> RopeOp::getSavedValues() { return {}; }

Gradients RopeOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  Value d_x =
      RopeOp::create(builder, getLoc(), getX().getType(), resultGradients[0], getSequenceAttr(), getHeadsAttr(), getHeadDimAttr(),
                     getOffsetAttr(), getWidthAttr(), getThetaAttr(), getPairsAttr(), getInverse() ? UnitAttr() : builder.getUnitAttr());
  return SmallVector<Value>{d_x};
}

ShardingRule RopeOp::getShardingRule() {
  int64_t batch = getDim(getX(), 0) / int64_t(getSequence());
  return ShardingRule::get("([b s, h c]) -> ([b s, h c]) replicate{s: a position counts from the start of its row; c: a head is rotated in "
                           "one} linear{0} attributes{sequence = s, heads = h, head_dim = c}",
                           {{"b", batch}, {"s", getSequence()}, {"h", getHeads()}, {"c", getHeadDim()}});
}

KernelQuery RopeOp::getKernelQuery() {
  KernelQuery query(getPairs() ? "partial_rope" : "rope");
  if (getPairs())
    query.set("pairs", *getPairs());
  query.add("y", getY()).add("x", getX());
  query.set("rows", getDim(getX(), 0)).set("sequence", getSequence()).set("heads", getHeads()).set("head_dim", getHeadDim());
  return query.set("offset", getOffset())
      .set("width", getWidth())
      .set("inverse", getInverse())
      .setReal("theta", getTheta().convertToDouble());
}

// Split and concat.

/// Checks that `parts` are the groups of `whole` cut at `widths`.
static LogicalResult verifyParts(Operation *op, Value whole, ValueRange parts, int64_t groups, ArrayRef<int64_t> widths) {
  if (parts.size() < 2 || parts.size() > 4 || parts.size() != widths.size())
    return op->emitOpError("has ") << parts.size() << " parts and " << widths.size() << " widths; expected the same number, 2 to 4";
  int64_t total = 0;
  for (auto [part, width] : llvm::zip(parts, widths)) {
    total += width;
    if (width <= 0 || getDim(part, 0) != getDim(whole, 0) || getDim(part, 1) != groups * width)
      return op->emitOpError("has a part of ") << part.getType() << " for " << groups << " groups of " << width;
  }
  if (getDim(whole, 1) != groups * total)
    return op->emitOpError("has ") << getDim(whole, 1) << " columns, expected " << groups << " groups of " << total;
  return success();
}

/// Both kernels: rows, groups, four widths, number of parts.
static KernelQuery &setParts(KernelQuery &query, Value whole, int64_t groups, ArrayRef<int64_t> widths) {
  static const StringRef names[] = {"width0", "width1", "width2", "width3"};
  query.set("rows", getDim(whole, 0)).set("groups", groups).set("parts", widths.size());
  for (auto [index, name] : llvm::enumerate(names))
    query.set(name, index < widths.size() ? widths[index] : 0);
  return query;
}

/// Groups and rows can be shared; the channels w of a group, the widths c0, c1, ... one after another, stay together.
static ShardingRule getPartsRule(Value whole, int64_t groups, ArrayRef<int64_t> widths, bool splits) {
  std::string parts, channels = "w", segments, attributes, each, together;
  SmallVector<std::pair<StringRef, int64_t>> sizes = {{"t", getDim(whole, 0)}, {"g", groups}, {"w", getDim(whole, 1) / groups}};
  static const StringRef names[] = {"c0", "c1", "c2", "c3"};
  for (auto [index, width, name] : llvm::enumerate(widths, ArrayRef(names).take_front(widths.size()))) {
    std::string comma = index ? ", " : "", number = std::to_string(index), c = name.str();
    parts += comma + (groups == 1 ? "[t, " : "[t, g ") + c + "]";
    segments += " p" + number + "." + c;
    attributes += comma + "widths." + number + " = " + c;
    together += (index ? " " : "") + c;
    each += (index ? " " : "") + number;
    channels += " " + c;
    sizes.push_back({name, width});
  }
  std::string packed = groups == 1 ? "[t," + segments + "]" : "[t, g w]", linear = " linear{" + (splits ? "0" : each) + "} attributes{";
  std::string text = splits ? "(" + packed + ") -> (" + parts + ")" : "(" + parts + ") -> (" + packed + ")";
  // Parts of one group are split each for itself, those of several with the groups.
  text += groups == 1 ? " independent{" + together + "}" + linear + attributes + "}"
                      : " replicate{" + channels + ": a group is cut at its widths}" + linear + "groups = g}";
  return ShardingRule::get(text, sizes);
}

LogicalResult SplitOp::verify() { return verifyParts(*this, getX(), getParts(), getGroups(), getWidths()); }
LogicalResult ConcatOp::verify() { return verifyParts(*this, getY(), getParts(), getGroups(), getWidths()); }

SmallVector<Value> SplitOp::getSavedValues() { return {}; }
SmallVector<Value> ConcatOp::getSavedValues() { return {}; }

Gradients SplitOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  SmallVector<Value> parts;
  for (auto [part, gradient] : llvm::zip(getParts(), resultGradients))
    parts.push_back(gradient ? gradient : ZeroOp::create(builder, getLoc(), part.getType()).getResult());
  return SmallVector<Value>{ConcatOp::create(builder, getLoc(), getX().getType(), parts, getGroupsAttr(), getWidthsAttr()).getResult()};
}

Gradients ConcatOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto split = SplitOp::create(builder, getLoc(), getParts().getTypes(), resultGradients[0], getGroupsAttr(), getWidthsAttr());
  return SmallVector<Value>(split.getParts());
}

ShardingRule SplitOp::getShardingRule() { return getPartsRule(getX(), getGroups(), getWidths(), /*splits=*/true); }
ShardingRule ConcatOp::getShardingRule() { return getPartsRule(getY(), getGroups(), getWidths(), /*splits=*/false); }

KernelQuery SplitOp::getKernelQuery() {
  KernelQuery query("split");
  return setParts(query.add("x", getX()).addEach("part", getParts()), getX(), getGroups(), getWidths());
}

KernelQuery ConcatOp::getKernelQuery() {
  KernelQuery query("concat");
  return setParts(query.add("y", getY()).addEach("part", getParts()), getY(), getGroups(), getWidths());
}

// repeat_groups and sum_groups.

static LogicalResult verifyGroups(Operation *op, Value one, Value all, int64_t groups) {
  if (getDim(one, 0) != getDim(all, 0) || getDim(one, 1) * groups != getDim(all, 1))
    return op->emitOpError("has ") << groups << " groups, " << one.getType() << " and " << all.getType();
  return success();
}

LogicalResult RepeatGroupsOp::verify() { return verifyGroups(*this, getX(), getY(), getGroups()); }
LogicalResult SumGroupsOp::verify() { return verifyGroups(*this, getY(), getX(), getGroups()); }

SmallVector<Value> RepeatGroupsOp::getSavedValues() { return {}; }
SmallVector<Value> SumGroupsOp::getSavedValues() { return {}; }

Gradients RepeatGroupsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  return SmallVector<Value>{
      SumGroupsOp::create(builder, getLoc(), getX().getType(), resultGradients[0], getGroupsAttr(), getScaleAttr()).getResult()};
}

Gradients SumGroupsOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  return SmallVector<Value>{
      RepeatGroupsOp::create(builder, getLoc(), getX().getType(), resultGradients[0], getGroupsAttr(), getScaleAttr()).getResult()};
}

ShardingRule RepeatGroupsOp::getShardingRule() {
  return ShardingRule::get("([t, c]) -> ([t, g c]) linear{0} attributes{groups = g}",
                           {{"t", getDim(getX(), 0)}, {"c", getDim(getX(), 1)}, {"g", getGroups()}});
}

ShardingRule SumGroupsOp::getShardingRule() {
  return ShardingRule::get("([t, g c]) -> ([t, c]) reduce{g} linear{0} attributes{groups = g}",
                           {{"t", getDim(getX(), 0)}, {"c", getDim(getY(), 1)}, {"g", getGroups()}});
}

template <typename Op> static KernelQuery getGroupsQuery(StringRef family, Op op, Value one) {
  KernelQuery query(family);
  query.add("y", op.getY()).add("x", op.getX()).set("rows", getDim(one, 0)).set("groups", op.getGroups()).set("width", getDim(one, 1));
  return query.setReal("scale", op.getScale().convertToDouble());
}

KernelQuery RepeatGroupsOp::getKernelQuery() { return getGroupsQuery("repeat_groups", *this, getX()); }
KernelQuery SumGroupsOp::getKernelQuery() { return getGroupsQuery("sum_groups", *this, getY()); }

// Attention.

/// q, k, v and y of the sizes that the attributes say.
template <typename Op> static LogicalResult verifyAttention(Op op, Value y) {
  int64_t rows = op.getBatch() * op.getSequence(), heads = op.getHeads(), kv = op.getKvHeads();
  if (kv <= 0 || heads % kv)
    return op.emitOpError("has ") << heads << " heads, which " << kv << " key-value heads cannot share evenly";
  auto has = [&](Value value, int64_t columns) { return getDim(value, 0) == rows && getDim(value, 1) == columns; };
  if (!has(op.getQ(), heads * op.getQkDim()) || !has(op.getK(), kv * op.getQkDim()) || !has(op.getV(), kv * op.getVDim()) ||
      !has(y, heads * op.getVDim()) || (op.getDocuments() && getCount(op.getDocuments()) != rows))
    return op.emitOpError("has shapes that do not follow from its sizes: q ")
           << op.getQ().getType() << ", k " << op.getK().getType() << ", v " << op.getV().getType() << ", y " << y.getType();
  return verifyCaches(op, op.getCachedAttr(), op.getCaches());
}

LogicalResult AttentionOp::verify() { return verifyAttention(*this, getY()); }

LogicalResult AttentionGradOp::verify() {
  if (failed(verifyAttention(*this, getY())) || failed(expectLike(*this, "d_y", getDY(), getY())) ||
      failed(expectLike(*this, "d_q", getDQ(), getQ())) || failed(expectLike(*this, "d_k", getDK(), getK())))
    return failure();
  return expectLike(*this, "d_v", getDV(), getV());
}

SmallVector<Value> AttentionOp::getSavedValues() {
  SmallVector<Value> saved = {getY(), getQ(), getK(), getV()};
  if (getDocuments())
    saved.push_back(getDocuments());
  return saved;
}

Gradients AttentionOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = AttentionGradOp::create(builder, getLoc(), getQ().getType(), getK().getType(), getV().getType(), resultGradients[0], saved[0],
                                      saved[1], saved[2], saved[3], getDocuments() ? saved[4] : Value(), ValueRange(), getBatchAttr(),
                                      getSequenceAttr(), getHeadsAttr(), getKvHeadsAttr(), getQkDimAttr(), getVDimAttr(), getScaleAttr(),
                                      ArrayAttr());
  SmallVector<Value> gradients = {grad.getDQ(), grad.getDK(), grad.getDV()};
  gradients.resize(getNumOperands());
  return gradients;
}

/// Query heads are kv_heads times a group; keys and values are shared inside the group.
template <typename Op> static ShardingRule getAttentionRule(Op op, StringRef operands, StringRef results) {
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  return ShardingRule::get(("(" + operands + documents + ") -> (" + results +
                            " replicate{s: a token reads all before it; c e: a score and " +
                            "its gradient are sums over a whole head} attributes{batch = b, sequence = s, heads = k g, kv_heads = k, " +
                            "qk_dim = c, v_dim = e}")
                               .str(),
                           {{"b", op.getBatch()},
                            {"s", op.getSequence()},
                            {"k", op.getKvHeads()},
                            {"g", op.getHeads() / op.getKvHeads()},
                            {"c", op.getQkDim()},
                            {"e", op.getVDim()}});
}

ShardingRule AttentionOp::getShardingRule() { return getAttentionRule(*this, "[b s, k g c], [b s, k c], [b s, k e]", "[b s, k g e])"); }

ShardingRule AttentionGradOp::getShardingRule() {
  return getAttentionRule(*this, "[b s, k g e], [b s, k g e], [b s, k g c], [b s, k c], [b s, k e]",
                          "[b s, k g c], [b s, k c], [b s, k e]) reduce{g}");
}

template <typename Op> static KernelQuery &setAttention(KernelQuery &query, Op op) {
  query.add("q", op.getQ()).add("k", op.getK()).add("v", op.getV()).add("y", op.getY()).add("documents", op.getDocuments());
  addCaches(query, op.getCachedAttr(), op.getCaches());
  query.set("batch", op.getBatch()).set("sequence", op.getSequence()).set("heads", op.getHeads()).set("kv_heads", op.getKvHeads());
  return query.set("qk_dim", op.getQkDim()).set("v_dim", op.getVDim()).setReal("scale", op.getScale().convertToDouble());
}

KernelQuery AttentionOp::getKernelQuery() {
  KernelQuery query("attention");
  return setAttention(query, *this);
}

KernelQuery AttentionGradOp::getKernelQuery() {
  KernelQuery query("attention_grad");
  query.add("d_q", getDQ()).add("d_k", getDK()).add("d_v", getDV()).add("d_y", getDY());
  return setAttention(query, *this);
}

/// The two products over the causal half, scores and values, some times.
template <typename Op> static OpCost getAttentionCost(Op op, int64_t times) {
  OpCost cost = getMemoryCost(op);
  cost.flops = (Size(times) * op.getBatch() * op.getSequence() * op.getSequence() * op.getHeads() * (op.getQkDim() + op.getVDim())).get();
  return cost;
}

OpCost AttentionOp::getCost() { return getAttentionCost(*this, 1); }
OpCost AttentionGradOp::getCost() { return getAttentionCost(*this, 2); }

// What people look at.

StringRef AttentionOp::getMeasureName() { return "attention_entropy"; }

Value AttentionOp::buildMeasure(OpBuilder &builder) {
  double queries = double(getBatch()) * double(getSequence()) * double(getHeads());
  return AttentionEntropyOp::create(builder, getLoc(), RankedTensorType::get({1}, builder.getF32Type()), getQ(), getK(), getDocuments(),
                                    Value(), getBatchAttr(), getSequenceAttr(), getHeadsAttr(), getKvHeadsAttr(), getQkDimAttr(),
                                    getScaleAttr(), builder.getF64FloatAttr(1.0 / queries));
}

LogicalResult AttentionEntropyOp::verify() {
  int64_t rows = getBatch() * getSequence(), heads = getHeads(), kv = getKvHeads(), dim = getQkDim();
  if (kv <= 0 || heads % kv)
    return emitOpError("has ") << heads << " heads, which " << kv << " key-value heads cannot share evenly";
  if (failed(expectShape(*this, "q", getQ(), {rows, heads * dim})) || failed(expectShape(*this, "k", getK(), {rows, kv * dim})))
    return failure();
  if ((getDocuments() && getCount(getDocuments()) != rows) || (getSupport() && getDim(getSupport(), 0) != rows))
    return emitOpError("has documents or a support of other than ") << rows << " rows";
  return expectShape(*this, "entropy", getEntropy(), {1});
}

ShardingRule AttentionEntropyOp::getShardingRule() {
  std::string optional = std::string(getDocuments() ? ", [b, s]" : "") + (getSupport() ? ", [b s, n]" : "");
  std::vector<std::pair<StringRef, int64_t>> sizes = {
      {"b", getBatch()}, {"s", getSequence()}, {"k", getKvHeads()}, {"g", getHeads() / getKvHeads()}, {"c", getQkDim()}};
  if (getSupport())
    sizes.push_back({"n", getDim(getSupport(), 1)});
  return ShardingRule::get("([b s, k g c], [b s, k c]" + optional +
                               ") -> ([one]) reduce{b k g} replicate{s: a token reads all before it; " +
                               "c: a score is a sum over a whole head" + (getSupport() ? "; n: a softmax is over the whole support" : "") +
                               "} attributes{batch = b, sequence = s, heads = k g, kv_heads = k, qk_dim = c}",
                           sizes);
}

KernelQuery AttentionEntropyOp::getKernelQuery() {
  KernelQuery query("attention_entropy");
  query.add("entropy", getEntropy()).add("q", getQ()).add("k", getK()).add("documents", getDocuments()).add("support", getSupport());
  query.set("batch", getBatch()).set("sequence", getSequence()).set("heads", getHeads()).set("kv_heads", getKvHeads());
  query.set("qk_dim", getQkDim()).set("kept", getSupport() ? getDim(getSupport(), 1) : 0);
  return query.setReal("scale", getScale().convertToDouble()).setReal("share", getShare().convertToDouble());
}

/// The product of the causal half, or of the supports.
OpCost AttentionEntropyOp::getCost() {
  OpCost cost = getMemoryCost(*this);
  Size rows = Size(getBatch()) * getSequence(), pairs = getSupport() ? 2 * rows * getDim(getSupport(), 1) : rows * getSequence();
  cost.flops = (pairs * getHeads() * getQkDim()).get();
  return cost;
}

// Biased attention.

template <typename Op> static LogicalResult verifyBiased(Op op, Value y) {
  int64_t batch = op.getBatch(), sequence = op.getSequence(), heads = op.getHeads(), relations = getCount(op.getWeight()) / heads;
  if (relations < 1 || relations > 31)
    return op.emitOpError("has weights of ") << op.getWeight().getType() << " for " << heads << " heads; expected 1 to 31 relations";
  auto bits = cast<RankedTensorType>(op.getBits().getType());
  if (bits.getRank() != 3 || bits.getDimSize(0) != batch || bits.getDimSize(1) != bits.getDimSize(2))
    return op.emitOpError("has bits of ") << bits << ", expected " << batch << " squares of chunks";
  if (failed(expectShape(op, "weight", op.getWeight(), {heads, relations})) ||
      failed(expectShape(op, "chunk", op.getChunk(), {batch, sequence})))
    return failure();
  return verifyAttention(op, y);
}

LogicalResult BiasedAttentionOp::verify() { return verifyBiased(*this, getY()); }

LogicalResult BiasedAttentionGradOp::verify() {
  if (failed(verifyBiased(*this, getY())) || failed(expectLike(*this, "d_y", getDY(), getY())) ||
      failed(expectLike(*this, "d_q", getDQ(), getQ())) || failed(expectLike(*this, "d_k", getDK(), getK())) ||
      failed(expectLike(*this, "d_v", getDV(), getV())))
    return failure();
  return expectLike(*this, "d_weight", getDWeight(), getWeight());
}

SmallVector<Value> BiasedAttentionOp::getSavedValues() {
  SmallVector<Value> saved = {getY(), getQ(), getK(), getV(), getWeight(), getChunk(), getBits()};
  if (getDocuments())
    saved.push_back(getDocuments());
  return saved;
}

Gradients BiasedAttentionOp::buildGradient(OpBuilder &builder, ValueRange resultGradients, ValueRange saved) {
  if (!resultGradients[0])
    return failure();
  auto grad = BiasedAttentionGradOp::create(builder, getLoc(), getQ().getType(), getK().getType(), getV().getType(), getWeight().getType(),
                                            resultGradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], saved[6],
                                            getDocuments() ? saved[7] : Value(), ValueRange(), getBatchAttr(), getSequenceAttr(),
                                            getHeadsAttr(), getKvHeadsAttr(), getQkDimAttr(), getVDimAttr(), getScaleAttr(), ArrayAttr());
  SmallVector<Value> gradients = {grad.getDQ(), grad.getDK(), grad.getDV(), grad.getDWeight()};
  gradients.resize(getNumOperands());
  return gradients;
}

/// As attention; the table of a row's chunks i and j and the relations r are whole.
template <typename Op> static ShardingRule getBiasedRule(Op op, StringRef operands, StringRef results) {
  std::string documents = op.getDocuments() ? ", [b, s]" : "";
  int64_t chunks = getDim(op.getBits(), 1);
  return ShardingRule::get(("(" + operands + ", [k g, r], [b, s], [b, i, j]" + documents + ") -> (" + results +
                            " replicate{s: a token reads all before it; c e: a score and its gradient are sums over a whole head; " +
                            "r i j: a bias is a sum over the relations of a pair of chunks} attributes{batch = b, sequence = s, " +
                            "heads = k g, kv_heads = k, qk_dim = c, v_dim = e}")
                               .str(),
                           {{"b", op.getBatch()},
                            {"s", op.getSequence()},
                            {"k", op.getKvHeads()},
                            {"g", op.getHeads() / op.getKvHeads()},
                            {"c", op.getQkDim()},
                            {"e", op.getVDim()},
                            {"r", getDim(op.getWeight(), 1)},
                            {"i", chunks},
                            {"j", chunks}});
}

ShardingRule BiasedAttentionOp::getShardingRule() { return getBiasedRule(*this, "[b s, k g c], [b s, k c], [b s, k e]", "[b s, k g e])"); }

ShardingRule BiasedAttentionGradOp::getShardingRule() {
  return getBiasedRule(*this, "[b s, k g e], [b s, k g e], [b s, k g c], [b s, k c], [b s, k e]",
                       "[b s, k g c], [b s, k c], [b s, k e], [k g, r]) reduce{b g}");
}

template <typename Op> static KernelQuery &setBiased(KernelQuery &query, Op op) {
  query.add("weight", op.getWeight()).add("chunk", op.getChunk()).add("bits", op.getBits());
  query.set("relations", getDim(op.getWeight(), 1)).set("chunks", getDim(op.getBits(), 1));
  return setAttention(query, op);
}

KernelQuery BiasedAttentionOp::getKernelQuery() {
  KernelQuery query("biased_attention");
  return setBiased(query, *this);
}

KernelQuery BiasedAttentionGradOp::getKernelQuery() {
  KernelQuery query("biased_attention_grad");
  query.add("d_q", getDQ()).add("d_k", getDK()).add("d_v", getDV()).add("d_weight", getDWeight()).add("d_y", getDY());
  return setBiased(query, *this);
}

OpCost BiasedAttentionOp::getCost() { return getAttentionCost(*this, 1); }
OpCost BiasedAttentionGradOp::getCost() { return getAttentionCost(*this, 2); }
