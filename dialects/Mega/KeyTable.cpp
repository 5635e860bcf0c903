#include "dialects/Mega/KeyTable.h"

namespace megacc::mega {
namespace {

KeySpec required(std::string name, int64_t least = 1) { return {std::move(name), KeyType::integer, std::nullopt, true, {}, least}; }
KeySpec derived(std::string name, int64_t least = 1) { return {std::move(name), KeyType::integer, std::nullopt, false, {}, least}; }
KeySpec integer(std::string name, int64_t value, int64_t least = 1) { return {std::move(name), KeyType::integer, value, false, {}, least}; }
KeySpec number(std::string name, double value) { return {std::move(name), KeyType::number, value, false, {}, 0}; }
KeySpec flag(std::string name, bool value) { return {std::move(name), KeyType::boolean, value, false, {}, 0}; }
KeySpec text(std::string name, std::string value) { return {std::move(name), KeyType::string, value, false, {}, 0}; }
KeySpec list(std::string name, std::vector<int64_t> value) { return {std::move(name), KeyType::integers, value, false, {}, 0}; }
KeySpec word(std::string name, std::vector<std::string> words) { return {std::move(name), KeyType::word, words.front(), false, words, 0}; }
KeySpec table(std::string name, std::vector<std::string> kinds) { return {std::move(name), KeyType::table, std::nullopt, false, kinds, 0}; }

KeySpec activation() { return word("activation", {"gelu", "gelu_tanh", "relu2", "swiglu"}); }

std::vector<KindSpec> makeKinds() {
  KeySpec stp_layers = {"layers", KeyType::integers, std::nullopt, true, {}, 0};
  KeySpec lr = {"lr", KeyType::number, std::nullopt, true, {}, 0};
  KeySpec final_lr = {"final", KeyType::number, std::nullopt, false, {}, 0};
  KeySpec optimizer = {"optimizer", KeyType::table, std::nullopt, true, {"adamw"}, 0};
  KeySpec memory = {"memory", KeyType::string, std::nullopt, false, {}, 0};
  return {
      {"attention", Role::family, {}, {required("heads"), derived("kv_heads"), required("head_dim"), derived("rope", 0), number("theta", 10000.0)}},
      {"mla", Role::family, {}, {required("heads"), required("q_rank"), required("kv_rank"), required("nope"), required("rope"), required("value"),
                                 number("theta", 10000.0)}},
      {"moe", Role::family, {}, {required("experts"), required("top_k"), required("width"), integer("shared", 0, 0), activation(),
                                 word("router", {"softmax", "sigmoid"}), number("aux", 1e-4), number("z", 0.0), number("scale", 1.0),
                                 number("bias_rate", 1e-3), number("density", 1.0), flag("shared_gate", false)}},
      {"mlp", Role::family, {}, {required("width"), activation()}},
      {"mamba3", Role::family, {}, {integer("expand", 2), integer("head_dim", 64), integer("state", 128), integer("groups", 1), integer("rank", 4),
                                    integer("chunk", 16, 8), word("variant", {"mimo", "siso"}), number("rope_fraction", 0.5),
                                    word("decay", {"softplus", "heavy"}), flag("out_norm", false)}},
      {"m2rnn", Role::family, {}, {integer("key", 64), integer("value", 16), derived("heads"), integer("conv", 4)}},
      {"concept", Role::family, {}, {integer("concepts", 64), integer("heads", 4)}},
      {"ngram_hash", Role::input, {}, {list("orders", {2, 3}), integer("heads", 8), integer("rows", 500000), integer("dim", 16), integer("seed", 0, 0)}},
      {"structure", Role::input, {}, {text("components", "core"), integer("dim", 64), list("sizes", {})}},
      {"dsa", Role::block, {"mla"}, {required("heads"), required("dim"), required("top_k"), number("kl", 0.0), integer("share", 1)}},
      {"engram", Role::block, {}, {list("orders", {2, 3, 4}), derived("dim"), flag("gated", false), flag("sqrt_gate", false), integer("conv", 0, 0),
                                   flag("conv_residual", true)}},
      {"mhc", Role::block, {}, {integer("streams", 4), integer("sinkhorn", 5)}},
      {"mod", Role::block, {"moe"}, {number("capacity", 0.5), number("aux", 0.01)}},
      {"mtp", Role::objective, {}, {integer("depth", 1), derived("width"), activation(), number("weight", 0.1), text("block", "A")}},
      {"stp", Role::objective, {}, {stp_layers, integer("spans", 4), number("weight", 0.05), integer("start", 10000, 0)}},
      {"train", Role::settings, {}, {required("micro_batch"), integer("accumulate", 1), word("precision", {"fp32", "bf16"}), integer("seed", 0, 0),
                                     number("clip", 1.0), optimizer, table("mesh", {""}), memory, flag("documents", false),
                                     word("recompute", {"auto", "none", "full"}), word("psiv_cache", {"off", "auto", "on"})}},
      {"adamw", Role::settings, {}, {lr, number("beta1", 0.9), number("beta2", 0.95), number("eps", 1e-8), number("decay", 0.1),
                                     table("schedule", {"constant", "cosine"})}},
      {"constant", Role::settings, {}, {}},
      {"cosine", Role::settings, {}, {integer("warmup", 0, 0), derived("steps"), final_lr}},
      {"", Role::settings, {}, {integer("dp", 1), integer("tp", 1), integer("ep", 1)}},
  };
}

} // namespace

llvm::ArrayRef<KindSpec> allKinds() {
  static const std::vector<KindSpec> kinds = makeKinds();
  return kinds;
}

const KindSpec *findKind(llvm::StringRef word) {
  for (const KindSpec &kind : allKinds())
    if (kind.word == word)
      return &kind;
  return nullptr;
}

} // namespace megacc::mega
