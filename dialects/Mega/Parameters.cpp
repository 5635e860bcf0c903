#include "dialects/Mega/Parameters.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

namespace megacc::mega {

int64_t Parameter::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

namespace {

using Shape = std::vector<int64_t>;

int64_t gates(const std::string &activation) { return activation == "swiglu" ? 2 : 1; }

std::vector<int64_t> structureSizes(const KeyValues &k) {
  static const std::pair<const char *, int64_t> components[] = {
      {"structure", 9}, {"dep_level", 16}, {"ast_depth", 64}, {"sibling_index", 64}, {"ast_node_type", 256}};
  std::string wanted = k.getText("components");
  if (wanted == "core")
    wanted = "structure,dep_level";
  std::vector<int64_t> sizes;
  llvm::SmallVector<llvm::StringRef> names;
  llvm::StringRef(wanted).split(names, ',');
  for (auto [name, size] : components)
    if (wanted == "all" || llvm::is_contained(names, llvm::StringRef(name)))
      sizes.push_back(sizes.size() < k.getInts("sizes").size() ? k.getInts("sizes")[sizes.size()] : size);
  return sizes;
}

class Collector {
public:
  explicit Collector(const Model &model) : model(model), D(model.hidden), down_std(0.02 / std::sqrt(double(model.depth))) {}

  std::vector<Parameter> run() {
    normal("embedding.weight", {model.vocab, D});
    if (const Feature *g = model.find("ngram_hash")) {
      std::vector<int64_t> sizes = ngramSizes(g->keys);
      int64_t rows = 0;
      for (int64_t size : sizes)
        rows += size;
      normal("ngram_hash.table.weight", {rows, g->keys.getInt("dim")});
      constant("ngram_hash.proj.weight", {D, int64_t(sizes.size()) * g->keys.getInt("dim")}, 0);
    }
    if (const Feature *s = model.find("structure")) {
      std::vector<int64_t> sizes = structureSizes(s->keys);
      int64_t rows = 0;
      for (int64_t size : sizes)
        rows += size;
      normal("structure.table.weight", {rows, s->keys.getInt("dim")});
      constant("structure.scale", {int64_t(sizes.size())}, 1.0 / sizes.size());
      constant("structure.proj.weight", {D, s->keys.getInt("dim")}, 0);
    }
    for (const Block &block : model.blocks) {
      slot = block.slot;
      addBlock("blocks." + std::to_string(block.slot) + ".", block);
    }
    slot = -1;
    constant("final_norm.weight", {D}, 1);
    normal("head.weight", {model.vocab, D});
    if (const Feature *mtp = model.find("mtp"))
      for (int64_t k = 0; k < mtp->keys.getInt("depth"); ++k) {
        std::string prefix = "mtp." + std::to_string(k) + ".";
        constant(prefix + "embed_norm.weight", {D}, 1);
        constant(prefix + "hidden_norm.weight", {D}, 1);
        normal(prefix + "eh_proj.weight", {D, 2 * D});
        for (auto [j, block] : llvm::enumerate(predictionBlocks(model)))
          addBlock(prefix + "blocks." + std::to_string(j) + ".", block);
        constant(prefix + "final_norm.weight", {D}, 1);
      }
    return std::move(all);
  }

private:
  Parameter &add(std::string name, Shape shape, Initializer initializer, double a) {
    bool decays = shape.size() > 1;
    all.push_back({std::move(name), std::move(shape), initializer, a, false, decays, true, 1.0, slot});
    return all.back();
  }
  Parameter &normal(std::string name, Shape shape, double std = 0.02) { return add(std::move(name), std::move(shape), Initializer::normal, std); }
  Parameter &constant(std::string name, Shape shape, double value) { return add(std::move(name), std::move(shape), Initializer::constant, value); }

  void addBlock(const std::string &prefix, const Block &block) {
    if (const Feature *mhc = block.find("mhc")) {
      int64_t n = mhc->keys.getInt("streams");
      constant(prefix + "mhc.proj.weight", {2 * n + n * n, n * D}, 0);
      add(prefix + "mhc.bias", {2 * n + n * n}, Initializer::mhc, double(mhc->order % n)).fp32 = true;
    }
    if (block.find("mod"))
      normal(prefix + "mod.router.weight", {1, D}).fp32 = true;
    constant(prefix + "norm.weight", {D}, 1);
    addMixer(prefix + "mixer.", block);
    if (const Feature *engram = block.find("engram"))
      addEngram(prefix + "engram.", engram->keys);
  }

  void addMlp(const std::string &prefix, int64_t width, const std::string &activation, Shape experts, double share) {
    Shape up = experts, down = experts;
    up.insert(up.end(), {width * gates(activation), D});
    down.insert(down.end(), {D, width});
    normal(prefix + "up.weight", up).active_share = share;
    normal(prefix + "down.weight", down, down_std).active_share = share;
  }

  void addMixer(const std::string &p, const Block &block) {
    const KeyValues &k = block.keys;
    if (block.kind == "attention") {
      int64_t d = k.getInt("head_dim"), h = k.getInt("heads");
      normal(p + "qkv_proj.weight", {(h + 2 * k.getInt("kv_heads")) * d, D});
      normal(p + "out_proj.weight", {D, h * d}, down_std);
    } else if (block.kind == "mla") {
      addMla(p, block);
    } else if (block.kind == "mlp") {
      addMlp(p, k.getInt("width"), k.getText("activation"), {}, 1.0);
    } else if (block.kind == "moe") {
      int64_t experts = k.getInt("experts"), rows = experts + (nullExperts(k) > 0);
      normal(p + "router.weight", {rows, D}).fp32 = true;
      if (k.getText("router") == "sigmoid") {
        Parameter &bias = constant(p + "router.bias", {rows}, 0);
        bias.fp32 = true, bias.trained = false;
      }
      addMlp(p + "experts.", k.getInt("width"), k.getText("activation"), {experts}, double(k.getInt("top_k")) / experts);
      if (int64_t shared = k.getInt("shared")) {
        addMlp(p + "shared.", shared, k.getText("activation"), {}, 1.0);
        if (k.getBool("shared_gate"))
          normal(p + "shared.gate.weight", {1, D});
      }
    } else if (block.kind == "mamba3") {
      addMamba(p, k);
    } else if (block.kind == "m2rnn") {
      addM2rnn(p, k);
    } else if (block.kind == "concept") {
      normal(p + "concepts", {k.getInt("concepts"), D});
      for (const char *name : {"q_proj.weight", "k_proj.weight", "v_proj.weight"})
        normal(p + name, {D, D});
      constant(p + "out_proj.weight", {D, D}, 0);
    }
  }

  void addMla(const std::string &p, const Block &block) {
    const KeyValues &k = block.keys;
    int64_t h = k.getInt("heads"), q_rank = k.getInt("q_rank"), kv_rank = k.getInt("kv_rank");
    int64_t nope = k.getInt("nope"), rope = k.getInt("rope"), value = k.getInt("value");
    normal(p + "q_down.weight", {q_rank, D});
    constant(p + "q_norm.weight", {q_rank}, 1);
    normal(p + "q_up.weight", {h * (nope + rope), q_rank});
    normal(p + "kv_down.weight", {kv_rank + rope, D});
    constant(p + "kv_norm.weight", {kv_rank}, 1);
    normal(p + "kv_up.weight", {h * (nope + value), kv_rank});
    normal(p + "out_proj.weight", {D, h * value}, down_std);
    const Feature *dsa = block.find("dsa");
    if (!dsa || dsa->order % dsa->keys.getInt("share"))
      return;
    int64_t heads = dsa->keys.getInt("heads"), dim = dsa->keys.getInt("dim");
    normal(p + "indexer.q_up.weight", {heads * dim, q_rank});
    normal(p + "indexer.k_proj.weight", {dim, D});
    constant(p + "indexer.k_norm.weight", {dim}, 1);
    constant(p + "indexer.k_norm.bias", {dim}, 0);
    normal(p + "indexer.head_proj.weight", {heads, D});
  }

  void addMamba(const std::string &p, const KeyValues &k) {
    int64_t inner = k.getInt("inner"), H = k.getInt("heads"), R = k.getInt("rank"), P = k.getInt("head_dim"), N = k.getInt("state");
    add(p + "in_proj.weight", {2 * inner + 2 * k.getInt("groups") * N * R + 3 * H + k.getInt("angles"), D}, Initializer::uniform,
        1 / std::sqrt(double(D)));
    add(p + "dt_bias", {H}, Initializer::dt_bias, 0).fp32 = true;
    constant(p + "D", {H}, 1).fp32 = true;
    constant(p + "B_bias", {H, R, N}, 1).fp32 = true;
    constant(p + "C_bias", {H, R, N}, 1).fp32 = true;
    constant(p + "B_norm.weight", {N}, 1);
    constant(p + "C_norm.weight", {N}, 1);
    if (k.getText("variant") == "mimo") {
      constant(p + "mimo_x", {H, R, P}, 1.0 / R).fp32 = true;
      constant(p + "mimo_z", {H, R, P}, 1).fp32 = true;
      constant(p + "mimo_o", {H, R, P}, 1.0 / R).fp32 = true;
    }
    if (k.getBool("out_norm"))
      constant(p + "norm.weight", {inner}, 1);
    add(p + "out_proj.weight", {D, inner}, Initializer::uniform, 1 / std::sqrt(double(inner) * model.depth));
  }

  void addM2rnn(const std::string &p, const KeyValues &k) {
    int64_t H = k.getInt("heads"), V = k.getInt("value"), channels = 2 * k.getInt("key") + H * V, width = k.getInt("conv");
    normal(p + "in_proj.weight", {channels + H + H * V, D});
    add(p + "conv.weight", {channels, width}, Initializer::uniform, 1 / std::sqrt(double(width)));
    constant(p + "conv.bias", {channels}, 0);
    add(p + "A_log", {H}, Initializer::a_log, 0).fp32 = true;
    add(p + "dt_bias", {H}, Initializer::dt_bias, 0).fp32 = true;
    add(p + "state_weight", {H, V, V}, Initializer::identity, double(V));
    constant(p + "D", {H, V}, 1).decays = false;
    constant(p + "norm.weight", {H * V}, 1);
    normal(p + "out_proj.weight", {D, H * V}, down_std);
  }

  void addEngram(const std::string &p, const KeyValues &k) {
    int64_t dim = k.getInt("dim");
    normal(p + "in_proj.weight", {dim, D});
    for (int64_t order : k.getInts("orders"))
      normal(p + "order." + std::to_string(order) + ".weight", {dim, dim});
    if (k.getBool("gated")) {
      normal(p + "key.weight", {D, dim});
      constant(p + "value.weight", {D, dim}, 0);
    } else {
      constant(p + "out_proj.weight", {D, dim}, 0);
    }
    if (int64_t width = k.getInt("conv"))
      add(p + "conv.weight", {D, width}, Initializer::uniform, 1 / std::sqrt(double(width)));
  }

  const Model &model;
  int64_t D, slot = -1;
  double down_std;
  std::vector<Parameter> all;
};

} // namespace

std::vector<int64_t> ngramSizes(const KeyValues &k) {
  auto prime = [](int64_t n) {
    for (int64_t d = 2; d * d <= n; ++d)
      if (n % d == 0)
        return false;
    return n > 1;
  };
  std::vector<int64_t> sizes;
  size_t tables = k.getInts("orders").size() * k.getInt("heads");
  for (int64_t n = k.getInt("rows") - k.getInt("rows") / 2500; sizes.size() < tables; ++n)
    if (prime(n))
      sizes.push_back(n);
  return sizes;
}

std::vector<Parameter> parameters(const Model &model) { return Collector(model).run(); }

int64_t nullExperts(const KeyValues &k) {
  double experts = k.getInt("experts"), density = k.getFloat("density");
  return density < 1 ? std::max<int64_t>(1, int64_t(experts * (1 - density) / density)) : 0;
}

int64_t expertSlots(const KeyValues &k) { return int64_t(std::ceil(double(k.getInt("top_k")) / k.getFloat("density"))); }

std::vector<Block> predictionBlocks(const Model &model) {
  const KeyValues &keys = model.find("mtp")->keys;
  const auto &[kind, values] = model.families.at(llvm::toUpper(keys.getText("block")[0]));
  KeyValues mlp;
  mlp.set("width", keys.getInt("width"));
  mlp.set("activation", keys.getText("activation"));
  return {{-1, 0, 0, kind, values, {}}, {-1, 0, 0, "mlp", mlp, {}}};
}

double blockFlops(const Model &model, const Block &block) {
  const KeyValues &k = block.keys;
  double D = model.hidden, half = model.sequence / 2.0, flops = 0;
  auto get = [&](llvm::StringRef name) { return double(k.getInt(name)); };
  if (block.kind == "attention") {
    double h = get("heads"), d = get("head_dim");
    flops = 2 * D * (h + 2 * get("kv_heads")) * d + 2 * D * h * d + 2 * half * h * 2 * d;
  } else if (block.kind == "mla") {
    double h = get("heads"), qk = get("nope") + get("rope"), v = get("value"), q_rank = get("q_rank"), kv_rank = get("kv_rank");
    flops = 2 * (D * q_rank + q_rank * h * qk + D * (kv_rank + get("rope")) + kv_rank * h * (get("nope") + v) + h * v * D) + 2 * half * h * (qk + v);
    if (const Feature *dsa = block.find("dsa"); dsa && dsa->order % dsa->keys.getInt("share") == 0) {
      double heads = dsa->keys.getInt("heads"), dim = dsa->keys.getInt("dim");
      flops += 2 * (q_rank * heads * dim + D * dim + D * heads) + 2 * half * heads * dim;
    }
  } else if (block.kind == "mlp") {
    flops = 2 * D * get("width") * (1 + gates(k.getText("activation")));
  } else if (block.kind == "moe") {
    double matrices = 1 + gates(k.getText("activation"));
    flops = 2 * D * (get("experts") + (nullExperts(k) > 0)) + 2 * D * matrices * (get("top_k") * get("width") + get("shared"));
    if (k.getBool("shared_gate"))
      flops += 2 * D;
  } else if (block.kind == "mamba3") {
    double H = get("heads"), R = get("rank"), N = get("state"), P = get("head_dim"), L = get("chunk") * R, inner = get("inner");
    flops = 2 * D * (2 * inner + 2 * get("groups") * N * R + 3 * H + get("angles")) + 2 * D * inner + H * (2 * R * L * (N + P) + 4 * R * N * P);
  } else if (block.kind == "m2rnn") {
    double H = get("heads"), K = get("key"), V = get("value");
    flops = 2 * D * (2 * K + H * V + H + H * V) + 2 * D * H * V + H * (2 * K * V * V + 7 * K * V);
  } else if (block.kind == "concept") {
    flops = 2 * D * D * 2 + 2 * get("concepts") * D * 2;
  }
  for (const Feature &feature : block.features) {
    if (feature.kind == "mod")
      flops = flops * feature.keys.getFloat("capacity") + 2 * D;
    if (feature.kind == "mhc") {
      double n = feature.keys.getInt("streams");
      flops += 2 * n * D * (2 * n + n * n) + 2 * D * (2 * n + n * n);
    }
    if (feature.kind == "engram") {
      double dim = feature.keys.getInt("dim"), orders = feature.keys.getInts("orders").size();
      flops += 2 * D * dim + 2 * dim * dim * orders + 2 * D * dim * (feature.keys.getBool("gated") ? 2 : 1);
    }
  }
  return flops;
}

double outerFlops(const Model &model) {
  double D = model.hidden, head = 2 * D * model.vocab, flops = head;
  if (const Feature *g = model.find("ngram_hash"))
    flops += 2 * D * double(g->keys.getInts("orders").size() * g->keys.getInt("heads") * g->keys.getInt("dim"));
  if (const Feature *s = model.find("structure"))
    flops += 2 * D * s->keys.getInt("dim");
  if (const Feature *mtp = model.find("mtp")) {
    double depth = head + 2 * D * 2 * D;
    for (const Block &block : predictionBlocks(model))
      depth += blockFlops(model, block);
    flops += depth * mtp->keys.getInt("depth");
  }
  return flops;
}

} // namespace megacc::mega
