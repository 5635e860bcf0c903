// Attention to the keys that an indexer picks (conventions 6.3 to 6.8).
#include "dialects/Mega/placements/Dsa.h"
#include "passes/train/Builders.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace megacc::step {
namespace {

/// What the nearest earlier indexer picked (ForwardBuilder::getKept).
constexpr char kSupport[] = "dsa.support";

class Dsa : public BlockHooks {
public:
  explicit Dsa(const mega::Feature &feature) : feature(feature) {}

  /// In place of the attention of an mla: n, its normalised latent of the queries, q, k, v.
  Value inside(ForwardBuilder &builder, StringRef point, ValueRange values) override {
    if (point != "attention")
      return {};
    OpBuilder &ops = builder.getBuilder();
    const mega::KeyValues &family = builder.getBlock().keys;
    Value q = values[2], k = values[3], v = values[4];
    int64_t heads = family.getInt("heads"), dim = family.getInt("nope") + family.getInt("rope");
    auto number = [&](int64_t value) { return ops.getI64IntegerAttr(value); };
    IntegerAttr batch = number(builder.getBatch()), length = number(builder.getLength(q));
    FloatAttr scale = ops.getF64FloatAttr(1.0 / std::sqrt(double(dim)));

    Value support;
    if (mega::ownsIndexer(feature)) {
      int64_t index_heads = feature.keys.getInt("heads"), index_dim = feature.keys.getInt("dim");
      int64_t kept = std::min(feature.keys.getInt("top_k"), builder.getLength(q));
      FloatAttr index_scale = ops.getF64FloatAttr(1.0 / std::sqrt(double(index_heads) * double(index_dim)));
      auto [index_q, index_k, weights] = buildIndexer(builder, family, builder.detach(values[0], "n"), builder.detach(values[1], "latent"));
      support = SelectKeysOp::create(ops, builder.getLoc("indexer.select"), builder.getI32Type({getDim(q, 0), kept}), index_q, index_k,
                                     weights, builder.getDocuments(), batch, length, number(index_heads), number(index_dim));
      builder.keep(kSupport, support);
      if (double kl = feature.keys.getFloat("kl"); kl != 0 && builder.isTraining())
        builder.addLossTerm("dsa_kl",
                            SupportKlOp::create(ops, builder.getLoc("indexer.kl"), builder.getF32Type({1}),
                                                builder.getF32Type({getDim(q, 0), kept}), q, k, index_q, index_k, weights, support, batch,
                                                length, number(heads), number(dim), number(index_heads), number(index_dim),
                                                number(getDim(q, 0)), scale, index_scale, ops.getF64FloatAttr(kl))
                                .getLoss());
    } else {
      support = builder.getKept(kSupport).front();
    }
    return SparseAttentionOp::create(ops, builder.getLoc("attention"), v.getType(), q, k, v, support, batch, length, number(heads),
                                     number(dim), number(family.getInt("value")), scale);
  }

private:
  struct Indexer {
    Value q, k, weights;
  };

  /// Queries and the weights of their heads, and the keys; the mixer gets no gradient from them.
  Indexer buildIndexer(ForwardBuilder &builder, const mega::KeyValues &family, Value n, Value latent) {
    int64_t heads = feature.keys.getInt("heads"), dim = feature.keys.getInt("dim"), rope = family.getInt("rope");
    double theta = family.getFloat("theta");
    Value q = builder.rope(builder.linear(latent, "indexer.q_up"), heads, dim, 0, rope, theta, "indexer.q_rope");
    Value k = builder.layerNorm(builder.linear(n, "indexer.k_proj"), "indexer.k_norm");
    return {q, builder.rope(k, 1, dim, 0, rope, theta, "indexer.k_rope"), builder.linear(n, "indexer.head_proj")};
  }

  const mega::Feature &feature;
};

} // namespace

std::unique_ptr<BlockHooks> buildDsa(const mega::Feature &feature) { return std::make_unique<Dsa>(feature); }

} // namespace megacc::step
