"""Parameters of a declaration: names, shapes, initial values, and which of them decay (docs/conventions.md, sections 2 to 4)."""
import itertools
import math
from types import SimpleNamespace

import numpy as np

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(words):
    """The finaliser of splitmix64 on an array of uint64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))


def mix_one(word):
    return int(mix(np.array([word & MASK], np.uint64))[0])


def random_key(seed, name):
    """Where the stream of a name begins."""
    fnv = 0xCBF29CE484222325
    for byte in name.encode():
        fnv = (fnv ^ byte) * 0x100000001B3 & MASK
    return mix_one(fnv + mix_one(seed + GAMMA))


def draw(key, indices):
    """Numbers of a stream as uint64."""
    return mix(np.uint64(key) + (np.asarray(indices, np.uint64) + np.uint64(1)) * np.uint64(GAMMA))


def draw_unit(key, indices):
    return (draw(key, indices) >> np.uint64(11)) * 2.0 ** -53


def initial_value(name, parameter, seed):
    kind, *numbers = parameter.initial
    key, index = random_key(seed, name), np.arange(math.prod(parameter.shape), dtype=np.uint64)
    if kind == "constant":
        values = np.full(len(index), numbers[0])
    elif kind == "identity":
        values = np.broadcast_to(np.eye(parameter.shape[-1]), parameter.shape)
    elif kind == "uniform":
        values = numbers[0] * (2 * draw_unit(key, index) - 1)
    elif kind == "normal":
        first, second = draw_unit(key, 2 * index), draw_unit(key, 2 * index + np.uint64(1))
        values = numbers[0] * np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * math.pi * second)
    elif kind == "dt_bias":
        step = np.maximum(np.exp(math.log(1e-3) + draw_unit(key, index) * math.log(100)), 1e-4)
        values = step + np.log(-np.expm1(-step))
    elif kind == "a_log":
        values = np.log(16 * (1 - draw_unit(key, index)))
    elif kind == "mhc":
        streams, order = numbers
        values = np.concatenate([4.0 * (np.arange(streams) == order % streams), np.zeros(streams), 4.0 * np.eye(streams).reshape(-1)])
    return values.reshape(parameter.shape)


def is_prime(number):
    return number > 1 and 0 not in (number % np.arange(2, math.isqrt(number) + 1))


def ngram_sizes(ngram):
    """Rows of each table: successive primes."""
    candidates = itertools.count(ngram.rows - ngram.rows // 2500)
    return list(itertools.islice(filter(is_prime, candidates), len(ngram.orders) * ngram.heads))


class Table(dict):
    """Checkpoint key -> shape, initial value, whether it decays and is trained; in the order of the forward pass."""

    def __init__(self, model):
        super().__init__()
        self.hidden = model.hidden
        self.output = ("normal", 0.02 / math.sqrt(model.depth))  # of what writes into the residual stream
        self.depth = model.depth
        self.norm, self.layer_scale = model.norm, model.layer_scale
        self.add("embedding.weight", model.vocab, model.hidden)
        if model.norm.kind == "dyt":
            self.add("embedding.scale", 1, initial=("constant", math.sqrt(model.hidden)))
        if model.ngram_hash:
            sizes = ngram_sizes(model.ngram_hash)
            self.add("ngram_hash.table.weight", sum(sizes), model.ngram_hash.dim)
            self.add("ngram_hash.proj.weight", model.hidden, len(sizes) * model.ngram_hash.dim, initial=("constant", 0.0))
        if model.structure:
            sizes = model.structure.sizes.values()
            self.add("structure.table.weight", sum(sizes), model.structure.dim)
            self.add("structure.scale", len(sizes), initial=("constant", 1 / len(sizes)))
            self.add("structure.proj.weight", model.hidden, model.structure.dim, initial=("constant", 0.0))
        for slot, family in enumerate(model.blocks):
            self.add_block(f"blocks.{slot}.", family, model.placed[slot])
            if "relation_bias" in model.placed[slot]:
                self.add(f"blocks.{slot}.relation_bias.weight", family.heads, model.placed[slot]["relation_bias"].relations,
                         initial=("constant", 0.0))
            if "engram" in model.placed[slot]:
                self.add_engram(f"blocks.{slot}.engram.", model.placed[slot]["engram"])
            if "dsa" in model.placed[slot]:
                self.add_dsa(f"blocks.{slot}.mixer.indexer.", family, model.placed[slot]["dsa"])
            self.add_layer_scale(f"blocks.{slot}.")
        self.add_residual_norm("final_norm")
        self.add("head.weight", model.vocab, model.hidden)
        for depth in range(model.mtp.depth if model.mtp else 0):
            prefix = f"mtp.{depth}."
            self.add_residual_norm(prefix + "embed_norm")
            self.add_residual_norm(prefix + "hidden_norm")
            self.add(prefix + "eh_proj.weight", model.hidden, 2 * model.hidden)
            for index, family in enumerate(model.mtp.blocks):
                self.add_block(f"{prefix}blocks.{index}.", family)
                self.add_layer_scale(f"{prefix}blocks.{index}.")
            self.add_residual_norm(prefix + "final_norm")

    def add(self, key, *shape, initial=("normal", 0.02), decays=True, trained=True):
        self[key] = SimpleNamespace(shape=shape, initial=initial, decays=decays and trained and len(shape) > 1, trained=trained)

    def add_norm(self, key, width):
        self.add(key, width, initial=("constant", 1.0))

    def add_residual_norm(self, key, attends=False):
        """A norm of the residual, of the model's kind."""
        self.add_norm(key + ".weight", self.hidden)
        if self.norm.kind == "dyt":
            self.add(key + ".bias", self.hidden, initial=("constant", 0.0))
            self.add(key + ".alpha", 1, initial=("constant", self.norm.attention_alpha if attends else self.norm.alpha))

    def add_layer_scale(self, prefix):
        if self.layer_scale:
            self.add(prefix + "layer_scale", self.hidden, initial=("constant", self.layer_scale))

    def add_block(self, prefix, family, placed={}):
        if "mhc" in placed:
            streams = placed["mhc"].streams
            rows = streams * (streams + 2)
            self.add(prefix + "mhc.proj.weight", rows, streams * self.hidden, initial=("constant", 0.0))
            self.add(prefix + "mhc.bias", rows, initial=("mhc", streams, placed["mhc"].order))
        if "mod" in placed:
            self.add(prefix + "mod.router.weight", 1, self.hidden)
        self.add_residual_norm(prefix + "norm", attends=family.kind in ("mla", "attention"))
        getattr(self, "add_" + family.kind)(prefix + "mixer.", family)

    def add_feed_forward(self, prefix, width, activation, *experts):
        self.add(prefix + "up.weight", *experts, width * (2 if activation == "swiglu" else 1), self.hidden)
        self.add(prefix + "down.weight", *experts, self.hidden, width, initial=self.output)

    def add_mlp(self, prefix, family):
        self.add_feed_forward(prefix, family.width, family.activation)

    def add_mla(self, prefix, family):
        heads = family.heads
        self.add(prefix + "q_down.weight", family.q_rank, self.hidden)
        self.add_norm(prefix + "q_norm.weight", family.q_rank)
        self.add(prefix + "q_up.weight", heads * (family.nope + family.rope), family.q_rank)
        self.add(prefix + "kv_down.weight", family.kv_rank + family.rope, self.hidden)
        self.add_norm(prefix + "kv_norm.weight", family.kv_rank)
        self.add(prefix + "kv_up.weight", heads * (family.nope + family.value), family.kv_rank)
        self.add(prefix + "out_proj.weight", self.hidden, heads * family.value, initial=self.output)
        self.add_gate(prefix, family, family.value)

    def add_gate(self, prefix, family, width):
        if family.gate != "none":
            rows = family.heads * (width if family.gate == "channel" else 1)
            self.add(prefix + "gate_proj.weight", rows, self.hidden, initial=("constant", 0.0))

    def add_dsa(self, prefix, family, placement):
        if placement.order % placement.share:
            return  # it takes the keys of an earlier one
        self.add(prefix + "q_up.weight", placement.heads * placement.dim, family.q_rank)
        self.add(prefix + "k_proj.weight", placement.dim, self.hidden)
        self.add_norm(prefix + "k_norm.weight", placement.dim)
        self.add(prefix + "k_norm.bias", placement.dim, initial=("constant", 0.0))
        self.add(prefix + "head_proj.weight", placement.heads, self.hidden)

    def add_attention(self, prefix, family):
        self.add(prefix + "qkv_proj.weight", (family.heads + 2 * family.kv_heads) * family.head_dim, self.hidden)
        self.add(prefix + "out_proj.weight", self.hidden, family.heads * family.head_dim, initial=self.output)
        self.add_gate(prefix, family, family.head_dim)

    def add_moe(self, prefix, family):
        rows = family.experts + (family.nulls > 0)
        self.add(prefix + "router.weight", rows, self.hidden)
        if family.router == "sigmoid":
            self.add(prefix + "router.bias", rows, initial=("constant", 0.0), trained=False)
        self.add_feed_forward(prefix + "experts.", family.width, family.activation, family.experts)
        if family.shared:
            self.add_feed_forward(prefix + "shared.", family.shared, family.activation)
            if family.shared_gate:
                self.add(prefix + "shared.gate.weight", 1, self.hidden)

    def add_mamba3(self, prefix, family):
        heads, rank, width, state, inner = family.heads, family.rank, family.head_dim, family.state, family.inner
        rows = 2 * inner + 2 * family.groups * state * rank + 3 * heads + family.angles
        one, share = ("constant", 1.0), ("constant", 1 / rank)
        self.add(prefix + "in_proj.weight", rows, self.hidden, initial=("uniform", self.hidden ** -0.5))
        self.add(prefix + "dt_bias", heads, initial=("dt_bias",))
        self.add(prefix + "D", heads, initial=one)
        self.add(prefix + "B_bias", heads, rank, state, initial=one)
        self.add(prefix + "C_bias", heads, rank, state, initial=one)
        self.add_norm(prefix + "B_norm.weight", state)
        self.add_norm(prefix + "C_norm.weight", state)
        if family.variant == "mimo":
            self.add(prefix + "mimo_x", heads, rank, width, initial=share)
            self.add(prefix + "mimo_z", heads, rank, width, initial=one)
            self.add(prefix + "mimo_o", heads, rank, width, initial=share)
        if family.out_norm:
            self.add_norm(prefix + "norm.weight", inner)
        if family.state_gate:
            self.add(prefix + "state_gate.weight", heads, self.hidden, initial=("constant", 0.0))
            self.add(prefix + "state_gate.bias", heads, initial=("constant", 8.0))
        self.add(prefix + "out_proj.weight", self.hidden, inner, initial=("uniform", (inner * self.depth) ** -0.5))

    def add_concept(self, prefix, family):
        self.add(prefix + "concepts", family.concepts, self.hidden)
        for name in ("q_proj", "k_proj", "v_proj"):
            self.add(f"{prefix}{name}.weight", self.hidden, self.hidden)
        self.add(prefix + "out_proj.weight", self.hidden, self.hidden, initial=("constant", 0.0))

    def add_engram(self, prefix, placement):
        hidden, dim, width = self.hidden, placement.dim, placement.conv
        self.add(prefix + "in_proj.weight", dim, hidden)
        for order in placement.orders:
            self.add(f"{prefix}order.{order}.weight", dim, dim)
        if placement.gated:
            self.add(prefix + "key.weight", hidden, dim)
        self.add(prefix + ("value.weight" if placement.gated else "out_proj.weight"), hidden, dim, initial=("constant", 0.0))
        if width:
            self.add(prefix + "conv.weight", hidden, width, initial=("uniform", width ** -0.5))

    def add_m2rnn(self, prefix, family):
        heads, value = family.heads, family.value
        channels = 2 * family.key + heads * value
        self.add(prefix + "in_proj.weight", channels + heads + heads * value, self.hidden)
        self.add(prefix + "conv.weight", channels, family.conv, initial=("uniform", family.conv ** -0.5))
        self.add(prefix + "conv.bias", channels, initial=("constant", 0.0))
        self.add(prefix + "A_log", heads, initial=("a_log",))
        self.add(prefix + "dt_bias", heads, initial=("dt_bias",))
        self.add(prefix + "state_weight", heads, value, value, initial=("identity",))
        self.add(prefix + "D", heads, value, initial=("constant", 1.0), decays=False)
        self.add_norm(prefix + "norm.weight", heads * value)
        self.add(prefix + "out_proj.weight", self.hidden, heads * value, initial=self.output)

    def add_gated_deltanet(self, prefix, family):
        heads, values = family.heads, family.heads * family.value
        channels = 2 * family.key_heads * family.key + values
        self.add(prefix + "in_proj.weight", channels + values + 2 * heads, self.hidden)
        self.add(prefix + "conv.weight", channels, family.conv, initial=("uniform", family.conv ** -0.5))
        self.add(prefix + "A_log", heads, initial=("a_log",))
        self.add(prefix + "dt_bias", heads, initial=("dt_bias",))
        self.add_norm(prefix + "norm.weight", family.value)
        self.add(prefix + "out_proj.weight", self.hidden, values, initial=self.output)


def initial_values(model):
    """Every parameter before the first step, rounded once to float32."""
    return {key: initial_value(key, parameter, model.train.seed).astype(np.float32) for key, parameter in Table(model).items()}
