"""Forward pass, losses and gradients of a declaration in float64, as docs/conventions.md defines them. Plain, not fast.

The tokens of a micro-batch are one list of T. A row, or a document of a packed row, is a slice of it, and what mixes tokens runs on one
slice after another; so nothing here needs a mask but causality. `weights` maps checkpoint keys to Tensors; a mixer sees its own,
without their prefix. Letters in shapes: L tokens of a document, H heads, R ranks, N states, P channels of a head.
"""
import math
from types import SimpleNamespace

import numpy as np

from autodiff import (Tensor, concatenate, cosine, einsum, exp, gradients, log_sum_exp, mean, minimum, normal_cdf, relu, reshape, sigmoid,
                      sine, softmax, softplus, split, sqrt, square, stack, sum_over, tanh, where)
from parameters import Table, draw, ngram_sizes, random_key

EPSILON = 1e-5  # of every norm
TINY = 1e-20    # of every normalisation of weights
SHORT = 1e-6    # of a length
FORBIDDEN = -1e300  # score of a key that a query may not see


class MicroBatch:
    """Inputs as lists of T and the slices that are documents; takes in losses, expert counts and residual streams on the way. Other
    inputs are components, "structure.NAME", and "relation.chunk" and "relation.bits"."""

    def __init__(self, tokens, targets, documents=None, **components):
        self.shape, self.tokens, self.targets = tokens.shape, tokens.reshape(-1), targets.reshape(-1)
        begins = np.zeros(tokens.shape, bool)
        begins[:, 0] = True
        if documents is not None:
            begins[:, 1:] |= np.diff(documents, axis=1) != 0
        edges = np.append(np.flatnonzero(begins), tokens.size)
        self.documents = [slice(first, last) for first, last in zip(edges, edges[1:])]
        self.relation = components.pop("relation.chunk", None), components.pop("relation.bits", None)
        self.components = {name: ids.reshape(-1) for name, ids in components.items()}
        self.spans = []  # of the straightness term, where it counts
        self.losses, self.depth_losses, self.picks, self.streams = {}, {}, {}, []
        self.activity = {}  # of hidden layers, by the key of their `up`: sums of |a| over tokens, and the tokens
        self.hidden_layers = []  # (up, hidden units, which tokens of theirs count)
        self.margins = []  # of every selection: the smallest relative gap between a picked and a rejected score

    def by_document(self, function, *lists):
        """function of each document's part of the lists, joined again."""
        return concatenate([function(*(values[document] for values in lists)) for document in self.documents], 0)

    @property
    def hidden(self):
        """The residual stream after each block (B,S,D)."""
        return [stream.value.reshape(*self.shape, -1) for stream in self.streams]

    def add_loss(self, term, loss):
        self.losses[term] = loss + self.losses.get(term, 0.0)


# Primitives.

def project(x, weight):
    return einsum("ti,oi->to", x, weight)


def silu(x):
    return x * sigmoid(x)


def rms_norm(x, weight=1.0):
    return x / sqrt(mean(square(x), -1, keepdims=True) + EPSILON) * weight


def norm(x, weights, key):
    """Of the residual: rms_norm, or where it has an alpha dyt."""
    if key + ".alpha" not in weights:
        return rms_norm(x, weights[key + ".weight"])
    return tanh(x * weights[key + ".alpha"]) * weights[key + ".weight"] + weights[key + ".bias"]


def gelu_tanh(x):
    return x * sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x * square(x)))  # (1 + tanh(a)) / 2 = sigmoid(2 a)


def swiglu(x):
    gate, up = split(x, [x.shape[-1] // 2, None])
    return silu(gate) * up


ACTIVATIONS = {"gelu": lambda x: x * normal_cdf(x), "gelu_tanh": gelu_tanh, "relu2": lambda x: square(relu(x)), "swiglu": swiglu}


def feed_forward(activation, x, up, down, batch=None, count=None):
    units = ACTIVATIONS[activation](project(x, up))
    if batch is not None:
        batch.hidden_layers.append((up, np.abs(units.value), np.ones(len(units.value)) if count is None else count))
    return project(units, down)


def padded(x, count, after=False):
    """x with `count` rows of zeros before it, or after it."""
    zeros = Tensor(np.zeros((count, *x.shape[1:])))
    return concatenate([x, zeros] if after else [zeros, x], 0)


def causal_convolution(x, taps):
    """x (L,channels), taps (channels,width), the last one for the token itself."""
    width = taps.shape[1]
    window = padded(x, width - 1)
    return sum(window[tap:tap + len(x.value)] * taps[:, tap] for tap in range(width))


def rotate(x, angles, first, second):
    """Turns the channel pairs first[j], second[j] of x (L,H,d) by angles (L, H or 1, j); other channels stay."""
    pair, partner, sign = np.zeros(x.shape[-1], int), np.arange(x.shape[-1]), np.zeros(x.shape[-1])
    pair[first] = pair[second] = np.arange(len(first))
    partner[first], partner[second] = second, first
    sign[first], sign[second] = -1, 1
    turn = angles[..., pair] * abs(sign)
    return x * cosine(turn) + x[..., partner] * (sine(turn) * sign)


def rope(x, family):
    """Position rotation of the first `rope` channels of x (L,H,d), of the share of their pairs that the block turns."""
    width = family.rope
    if not width:
        return x
    pair = np.arange(width // 2)
    turned = pair < math.floor(width // 2 * (1 - getattr(family, "unturned", 0)) + 0.5)
    angles = np.arange(len(x.value))[:, None, None] / family.theta ** (pair / (width // 2)) * turned
    return rotate(x, Tensor(angles), pair, pair + width // 2)


def attention_weights(q, k, allowed, bias=None):
    """Of q (L,H,d) over the allowed (L,L) keys k (L,G,d), G a divisor of H: (G, H/G, L, L). bias (H,L,L) is added to the scores."""
    q = reshape(q, len(q.value), k.shape[1], -1, q.shape[-1])
    scores = einsum("qgad,kgd->gaqk", q, k) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + reshape(bias, *scores.shape)
    return softmax(scores + np.where(allowed, 0.0, FORBIDDEN))


def attend(q, k, v, allowed=None, bias=None):
    """Causal attention of q (L,H,d) to k (L,G,d) and v (L,G,e): (L, H e); to fewer keys where `allowed` (L,L) says so."""
    weight = attention_weights(q, k, np.tri(len(k.value), dtype=bool) if allowed is None else allowed, bias)
    return reshape(einsum("gaqk,kge->qgae", weight, v), len(k.value), -1)


def pick_best(scores, count, batch):
    """Mask (T,n) of each token's `count` best: those with fewer than `count` others before them, where equals go by index."""
    mine, other, index = scores[:, :, None], scores[:, None, :], np.arange(scores.shape[1])
    before = (other > mine) | ((other == mine) & (index < index[:, None]))
    picked = before.sum(-1) < count
    if count < scores.shape[1]:
        gaps = np.where(picked, scores, np.inf).min(1) - np.where(picked, -np.inf, scores).max(1)
        batch.margins += list((gaps / abs(scores).max(1))[gaps > 0])
    return picked


# Mixers of one document: (family, weights, normalised input (L,D)) -> (L,D).

def gated(family, weights, n, y):
    """Attention's output y (L,H e) times the sigmoid of its gates: none, one a head, or one a channel."""
    if family.gate == "none":
        return y
    gates = sigmoid(project(n, weights["gate_proj.weight"]))
    if family.gate == "head":
        gates = reshape(reshape(gates, len(n.value), -1, 1) * np.ones(y.shape[1] // family.heads), *y.shape)
    return y * gates


def relation_bias(table, chunk, bits):
    """What the relations between the chunks of query and key add to the scores of a document: (H,L,L); table (H,R), chunk (L,)."""
    chunks, relations = bits.shape[0], table.shape[1]
    inside = (chunk >= 0) & (chunk < chunks)
    pairs = bits[chunk.clip(0, chunks - 1)[:, None], chunk.clip(0, chunks - 1)]
    held = (pairs[..., None] >> np.arange(relations) & 1) * (inside[:, None] & inside)[..., None]
    return einsum("qkr,hr->hqk", Tensor(held), table)


def attention(family, weights, n, bias=None):
    heads = reshape(project(n, weights["qkv_proj.weight"]), len(n.value), -1, family.head_dim)
    q, k, v = split(heads, [family.heads, family.kv_heads, family.kv_heads], 1)
    y = attend(rope(q, family), rope(k, family), v, None, bias)
    return project(gated(family, weights, n, y), weights["out_proj.weight"])


def mla(family, weights, n, pick=None, bias=None):
    """pick(n, latent of the queries, q, k): the keys that each query may see, in place of all before it."""
    def per_head(latent, up):
        return split(reshape(project(latent, weights[up]), len(n.value), family.heads, -1), [family.nope, None])
    latent, shared_key = split(project(n, weights["kv_down.weight"]), [family.kv_rank, family.rope])
    q_latent = rms_norm(project(n, weights["q_down.weight"]), weights["q_norm.weight"])
    q, q_turning = per_head(q_latent, "q_up.weight")
    k, v = per_head(rms_norm(latent, weights["kv_norm.weight"]), "kv_up.weight")
    k_turning = reshape(shared_key, len(n.value), 1, family.rope) * np.ones((family.heads, 1))
    q, k = (concatenate([still, rope(turning, family)]) for still, turning in ((q, q_turning), (k, k_turning)))
    y = attend(q, k, v, pick and pick(n, q_latent, q, k), bias)
    return project(gated(family, weights, n, y), weights["out_proj.weight"])


def pick_keys(dsa, family, weights, batch, n, latent, q, k):
    """What the indexer of a block with dsa lets each query see: (L,L). Adds the KL term of this document."""
    length, n, latent = len(n.value), Tensor(n.value), Tensor(latent.value)  # no gradient leaves the indexer
    weights = {key.removeprefix("indexer."): value for key, value in weights.items()}
    queries = rope(reshape(project(latent, weights["q_up.weight"]), length, dsa.heads, -1), family)
    keys = project(n, weights["k_proj.weight"])
    keys = rms_norm(keys - mean(keys, -1, keepdims=True), weights["k_norm.weight"]) + weights["k_norm.bias"]
    keys = rope(reshape(keys, length, 1, -1), family)[:, 0]
    heads = project(n, weights["head_proj.weight"]) * (dsa.heads * dsa.dim) ** -0.5
    score = einsum("qh,hqk->qk", heads, relu(einsum("qhd,kd->hqk", queries, keys)))
    allowed = np.zeros((length, length), bool)
    for query in range(length):
        allowed[query, :query + 1] = pick_best(score.value[query:query + 1, :query + 1], dsa.top_k, batch)
    if dsa.kl:
        target = attention_weights(q, k, allowed).value.mean((0, 1))
        surprise = np.log(np.where(allowed & (target > 0), target, 1.0)) + log_sum_exp(score + np.where(allowed, 0.0, FORBIDDEN)) - score
        batch.add_loss("dsa_kl", dsa.kl / batch.tokens.size * sum_over(target * surprise))
    return allowed


def sparse_mla(dsa, family, weights, n, batch):
    """mla of all documents, each query with its picked keys; a block without an indexer takes those of the nearest earlier one."""
    if dsa.order % dsa.share == 0:
        batch.picked_keys = []
        def pick(*values):
            batch.picked_keys.append(pick_keys(dsa, family, weights, batch, *values))
            return batch.picked_keys[-1]
    else:
        earlier = iter(batch.picked_keys)
        def pick(*values):
            return next(earlier)
    return batch.by_document(lambda part: mla(family, weights, part, pick), n)


def mamba3(family, weights, n):
    parts = split(project(n, weights["in_proj.weight"]), [family.inner] * 2 + [family.groups * family.state * family.rank] * 2 +
                  [family.heads] * 3 + [family.angles])
    cut = softplus(-(project(n, weights["state_gate.weight"]) + weights["state_gate.bias"])) if family.state_gate else None
    return project(mamba3_scan(family, weights, *parts, cut), weights["out_proj.weight"])


def mamba3_scan(family, weights, z, x, b, c, step, rate, trapezoid, angle, cut):
    """As a sum over the past instead of a state: y_t = sum over s <= t of M[t,s] (q_t . k_s) u_s, ranks added, plus D u_t. A token enters
    the state with gamma when it comes and with beta one token later, before that token's decay; M carries both on to t. `cut`, of a state
    gate, is taken from the logarithm of the decay."""
    length, heads, width = len(z.value), family.heads, family.head_dim
    states, groups, ranks = family.state, family.groups, family.rank
    step = softplus(step + weights["dt_bias"])
    if family.decay == "softplus":
        rate = -softplus(rate)
    else:
        rate = where(rate.value < 0, -1 / (1 - minimum(rate, 0)), -1 - rate)
    rate = minimum(rate, -1e-4) * step
    if cut is not None:
        rate = rate - cut

    gamma = sigmoid(trapezoid) * step
    beta = padded((step - gamma)[1:], 1, after=True)  # of the token after
    decayed = einsum("ij,jh->ih", np.tri(length), rate)
    past = np.tri(length, length, -1)[..., None]  # s < t
    spread = where(past > 0, reshape(decayed, length, 1, heads) - reshape(decayed, 1, length, heads), 0.0)
    moved = exp(spread) * past * (gamma + beta) + np.eye(length)[..., None] * gamma  # M: (t,s,H)

    turns = reshape(step, length, heads, 1) * reshape(math.pi * tanh(angle), length, 1, -1)
    theta = einsum("ij,jha->iha", np.tri(length), turns)
    pair = np.arange(family.angles)
    pairs = (pair, pair + states // 2) if family.variant == "mimo" else (2 * pair, 2 * pair + 1)
    group = np.arange(heads) * groups // heads

    def directions(projected, norm, bias):
        """Keys or queries, for each rank (L,H,N)."""
        normed = rms_norm(reshape(projected, length, ranks, groups, states), weights[norm])
        return stack([rotate(normed[:, rank][:, group] + weights[bias][:, rank], theta, *pairs) for rank in range(ranks)], 0)
    keys, queries = directions(b, "B_norm.weight", "B_bias"), directions(c, "C_norm.weight", "C_bias")

    x, z = (reshape(part, length, heads, 1, width) for part in (x, z))
    mimo = family.variant == "mimo"
    u = x * weights["mimo_x"] if mimo else x
    read = einsum("athn,bshn->tsabh", queries, keys)
    y = einsum("tsabh,tsh,shbp->thap", read, moved, u) + reshape(weights["D"], heads, 1, 1) * u
    if family.out_norm:
        y = rms_norm(y, reshape(weights["norm.weight"], heads, 1, width))
    y = y * silu(z * weights["mimo_z"]) * weights["mimo_o"] if mimo else y * silu(z)
    return reshape(sum_over(y, 2), length, -1)


def m2rnn_scan(q, k, v, kept, state_weight):
    """Token by token: state <- f state + (1 - f) tanh(state W + k v^T); y = state^T q. q, k (L,key), v (L,H,value), kept (L,H)."""
    (length, heads, value), key = v.shape, k.shape[1]
    state, outputs = Tensor(np.zeros((heads, key, value))), []
    for token in range(length):
        drive = einsum("k,hv->hkv", k[token], v[token])
        f = reshape(kept[token], heads, 1, 1)
        state = f * state + (1 - f) * tanh(einsum("hkv,hvw->hkw", state, state_weight) + drive)
        outputs.append(einsum("hkv,k->hv", state, q[token]))
    return stack(outputs, 0)


def m2rnn(family, weights, n):
    length, heads, key, value = len(n.value), family.heads, family.key, family.value
    mixed, forget, gate = split(project(n, weights["in_proj.weight"]), [2 * key + heads * value, heads, heads * value])
    mixed = silu(causal_convolution(mixed, weights["conv.weight"]) + weights["conv.bias"])
    q, k, v = split(mixed, [key, key, None])
    v = reshape(v, length, heads, value)
    kept = exp(-exp(weights["A_log"]) * softplus(forget + weights["dt_bias"]))
    y = m2rnn_scan(q, k, v, kept, weights["state_weight"]) + weights["D"] * v
    return project(rms_norm(reshape(y, length, -1) * silu(gate), weights["norm.weight"]), weights["out_proj.weight"])


def delta_rule(q, k, v, kept, beta):
    """Token by token: state <- f state (1 - beta k k^T) + beta v k^T; y = state q. q, k (L,H,key), v (L,H,value), kept, beta (L,H)."""
    (length, heads, value), key = v.shape, k.shape[-1]
    state, outputs = Tensor(np.zeros((heads, value, key))), []
    for token in range(length):
        strength = reshape(beta[token], heads, 1, 1)
        erased = np.eye(key) - strength * einsum("hk,hl->hkl", k[token], k[token])
        written = strength * einsum("hv,hk->hvk", v[token], k[token])
        state = reshape(kept[token], heads, 1, 1) * einsum("hvk,hkl->hvl", state, erased) + written
        outputs.append(einsum("hvk,hk->hv", state, q[token]))
    return stack(outputs, 0)


def gated_deltanet(family, weights, n):
    length, heads, groups, key, value = len(n.value), family.heads, family.key_heads, family.key, family.value
    channels = 2 * groups * key + heads * value
    mixed, gate, strength, decay = split(project(n, weights["in_proj.weight"]), [channels, heads * value, heads, heads])
    mixed = silu(causal_convolution(mixed, weights["conv.weight"]))
    q, k, v = split(mixed, [groups * key, groups * key, None])
    group = np.arange(heads) * groups // heads

    def directions(x):
        """Of unit length, for each head (L,H,key)."""
        x = reshape(x, length, groups, key)
        return (x / sqrt(sum_over(square(x), -1, keepdims=True) + SHORT))[:, group]
    kept = exp(-exp(weights["A_log"]) * softplus(decay + weights["dt_bias"]))
    beta = sigmoid(strength) * (2 if family.neg_eigval else 1)
    y = delta_rule(directions(q) * key ** -0.5, directions(k), reshape(v, length, heads, value), kept, beta)
    y = rms_norm(y, weights["norm.weight"]) * silu(reshape(gate, length, heads, value))
    return project(reshape(y, length, -1), weights["out_proj.weight"])


# Mixers of single tokens: (family, weights, normalised input (T,D), micro-batch, name of the block) -> (T,D).

def mlp(family, weights, n, batch=None, block=None):
    return feed_forward(family.activation, n, weights["up.weight"], weights["down.weight"], batch)


def moe(family, weights, n, batch, block):
    experts = family.experts
    logits = project(n, weights["router.weight"])
    real = logits[:, :experts]
    slots = concatenate([real, logits[:, experts:] * np.ones(family.nulls)]) if family.nulls else real  # null experts share a logit
    if family.router == "softmax":
        scores, share = softmax(slots), softmax(real)
        picked = pick_best(scores.value, family.slots, batch)
    else:
        scores = sigmoid(slots)
        share = sigmoid(real) / (sum_over(sigmoid(real), -1, keepdims=True) + TINY)
        bias = weights["router.bias"].value
        picked = pick_best(scores.value + np.append(bias[:experts], np.repeat(bias[experts:], family.nulls)), family.slots, batch)
    picked = picked[:, :experts]
    weight = scores[:, :experts] * picked
    if family.slots > 1:
        weight = weight / (sum_over(weight, -1, keepdims=True) + TINY)
    y = 0.0
    for expert in range(experts):
        output = feed_forward(family.activation, n, weights["experts.up.weight"][expert], weights["experts.down.weight"][expert], batch,
                              picked[:, expert])
        batch.hidden_layers[-1] = (weights["experts.up.weight"], *batch.hidden_layers[-1][1:])
        y = output * weight[:, expert:expert + 1] * family.scale + y
    if family.shared:
        common = feed_forward(family.activation, n, weights["shared.up.weight"], weights["shared.down.weight"], batch)
        y = y + (common * sigmoid(project(n, weights["shared.gate.weight"])) if family.shared_gate else common)
    batch.picks[block] = picks = picked.sum(0)
    batch.add_loss("moe_aux", family.aux * experts * sum_over(picks / max(picks.sum(), 1) * mean(share, 0)))
    if family.z:
        batch.add_loss("moe_z", family.z * mean(square(log_sum_exp(slots))))
    return y


def concept(family, weights, n, batch=None, block=None):
    """Every token attends to the learned concepts, which are keys and values of nothing else."""
    def heads(x):
        return reshape(x, len(x.value), family.heads, -1)
    q = heads(project(n, weights["q_proj.weight"]))
    k, v = (heads(project(weights["concepts"], weights[name])) for name in ("k_proj.weight", "v_proj.weight"))
    weight = softmax(einsum("qad,kad->aqk", q, k) * q.shape[-1] ** -0.5)
    return project(reshape(einsum("aqk,kad->qad", weight, v), len(n.value), -1), weights["out_proj.weight"])


OF_DOCUMENTS = {"attention": attention, "mla": mla, "mamba3": mamba3, "m2rnn": m2rnn, "gated_deltanet": gated_deltanet}
OF_TOKENS = {"mlp": mlp, "moe": moe, "concept": concept}


# What placements add beside the mixer.

def signed_root(x):
    """sign(x) sqrt(max(|x|, 1e-6)), flat where the bound is active."""
    sign = np.sign(x.value)
    return sqrt(where(abs(x.value) >= 1e-6, x * sign, 1e-6)) * sign


def engram(placement, weights, n):
    """Of one document (L,D)."""
    length, z = len(n.value), project(n, weights["in_proj.weight"])
    y = 0.0
    for order in placement.orders:
        window = padded(z, order - 1)
        average = sum(window[start:start + length] for start in range(order)) / order
        y = project(average, weights[f"order.{order}.weight"]) / len(placement.orders) + y
    if placement.gated:
        gate = sum_over(rms_norm(n) * rms_norm(project(y, weights["key.weight"])), -1, keepdims=True) / math.sqrt(n.shape[-1])
        y = sigmoid(signed_root(gate) if placement.sqrt_gate else gate) * project(y, weights["value.weight"])
    else:
        y = project(y, weights["out_proj.weight"])
    if not placement.conv:
        return y
    local = silu(causal_convolution(rms_norm(y), weights["conv.weight"]))
    return y + local if placement.conv_residual else local


def weights_of(weights, prefix):
    """Those whose keys start with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def residual(family, placed, weights, x, batch, block):
    """What the block whose keys start with `block` adds to the residual stream; `placed` are its placements by kind."""
    if "mod" in placed:
        rest = {kind: keys for kind, keys in placed.items() if kind != "mod"}
        return mixture_of_depths(placed["mod"], weights[block + "mod.router.weight"], x, batch,
                                 lambda kept: residual(family, rest, weights, kept, batch, block))
    own = weights_of(weights, block + "mixer.")
    n = norm(x, weights, block + "norm")
    if "nope" in placed:
        family = SimpleNamespace(**vars(family), unturned=placed["nope"].share)
    if family.kind in OF_TOKENS:
        y = OF_TOKENS[family.kind](family, own, n, batch, block)
    elif "relation_bias" in placed:
        chunk, bits = batch.relation
        def biased(part, tokens):
            bias = relation_bias(weights[block + "relation_bias.weight"], chunk.reshape(-1)[tokens], bits[tokens[0] // batch.shape[1]])
            return OF_DOCUMENTS[family.kind](family, own, part, bias=bias)
        y = batch.by_document(biased, n, np.arange(batch.tokens.size))
    elif "dsa" in placed:
        y = sparse_mla(placed["dsa"], family, own, n, batch)
    else:
        y = batch.by_document(lambda part: OF_DOCUMENTS[family.kind](family, own, part), n)
    if "engram" in placed:
        y = y + batch.by_document(lambda part: engram(placed["engram"], weights_of(weights, block + "engram."), part), n)
    return y * weights[block + "layer_scale"] if block + "layer_scale" in weights else y


def join(stream, addition):
    """The residual stream after a block."""
    return stream + addition


def mixture_of_depths(mod, router, x, batch, run):
    """run(the picked rows of x) times their gates; zeros in the other rows."""
    logits = project(x, router)
    rows, length = batch.shape
    kept = pick_best(logits.value.reshape(rows, length), max(1, int(length * mod.capacity)), batch).reshape(-1)
    batch.add_loss("mod_aux", mod.aux * mean(softplus(logits) - logits * kept[:, None]))
    place = np.where(kept, np.cumsum(kept) - 1, kept.sum())
    return padded(run(x[np.flatnonzero(kept)]), 1, after=True)[place] * sigmoid(logits)


def hyper_connection(mhc, weights, block, streams):
    """Maps of every token's streams (T,n,D): what the block reads (T,n), where it writes (T,n), how the streams mix (T,n,n)."""
    count, tokens = mhc.streams, len(streams.value)
    flat = rms_norm(reshape(streams, tokens, -1))
    pre, post, mix = split(project(flat, weights[block + "mhc.proj.weight"]) + weights[block + "mhc.bias"], [count, count, None])
    mix = exp(reshape(mix - mix.value.max(-1, keepdims=True), tokens, count, count))  # [:, output stream, input stream]
    for _ in range(mhc.sinkhorn):
        mix = mix / sum_over(mix, 1, keepdims=True)
        mix = mix / sum_over(mix, 2, keepdims=True)
    return softmax(pre), 2 * sigmoid(post), mix


def run_stack(model, weights, x, batch):
    """The residual stream after all blocks; after each it is recorded, the mean of several streams."""
    connected = [slot for slot, placed in enumerate(model.placed) if "mhc" in placed]
    streams = None
    for slot, (family, placed) in enumerate(zip(model.blocks, model.placed)):
        block = f"blocks.{slot}."
        if connected and slot == connected[0]:
            streams = stack([x] * placed["mhc"].streams, 1)
        if streams is None:
            x = join(x, residual(family, placed, weights, x, batch, block))
        else:
            count = streams.shape[1]
            if "mhc" in placed:
                pre, post, mix = hyper_connection(placed["mhc"], weights, block, streams)
                read, mixed = einsum("tn,tnd->td", pre, streams), einsum("tmn,tnd->tmd", mix, streams)
            else:
                read, mixed, post = mean(streams, 1), streams, Tensor(np.ones((len(x.value), count)))
            streams = join(mixed, einsum("tm,td->tmd", post, residual(family, placed, weights, read, batch, block)))
            x = mean(streams, 1)
            if slot == connected[-1]:
                streams = None
        batch.streams.append(x)
    return x


# Input and objective.

def ngram_rows(ngram, batch):
    """The row of the stacked tables that each hash of each token names: (T,tables)."""
    sizes, longest = ngram_sizes(ngram), max(ngram.orders)
    orders = np.repeat(ngram.orders, ngram.heads)
    factors = draw(random_key(ngram.seed, "ngram_hash.multipliers"), np.arange(len(sizes) * longest)).reshape(-1, longest)
    factors = (factors >> np.uint64(33)) | np.uint64(1)
    factors[np.arange(longest) >= orders[:, None]] = 0  # a table looks no further back than its order
    hashes = np.tile(draw(random_key(ngram.seed, "ngram_hash.bias"), np.arange(len(sizes))) >> np.uint64(33), (batch.tokens.size, 1))
    for document in batch.documents:
        words = np.append(np.zeros(longest - 1, np.uint64), batch.tokens[document].astype(np.uint64))
        recent = np.lib.stride_tricks.sliding_window_view(words, longest)[:, ::-1]  # (L,longest), the token itself first
        hashes[document] ^= np.bitwise_xor.reduce(recent[:, None] * factors, -1)
    return (hashes % np.array(sizes, np.uint64)).astype(np.int64) + np.cumsum([0, *sizes[:-1]])


def embed(model, weights, batch):
    x = weights["embedding.weight"][batch.tokens]
    if model.ngram_hash:
        found = weights["ngram_hash.table.weight"][ngram_rows(model.ngram_hash, batch)]
        x = x + project(reshape(found, len(x.value), -1), weights["ngram_hash.proj.weight"])
    if model.structure:
        y, first = 0.0, 0
        for index, (name, size) in enumerate(model.structure.sizes.items()):
            rows = first + batch.components["structure." + name].clip(0, size - 1)
            y = weights["structure.table.weight"][rows] * weights["structure.scale"][index:index + 1] + y
            first += size
        x = x + project(y, weights["structure.proj.weight"])
    return x * weights["embedding.scale"] if "embedding.scale" in weights else x


def cross_entropy(x, head, targets):
    """Mean over the targets that are not negative."""
    counted = np.flatnonzero(targets >= 0)
    logits = project(x[counted], head)
    surprise = log_sum_exp(logits)[:, 0] - logits[np.arange(len(counted)), targets[counted]]
    return sum_over(surprise) / max(1, len(counted))


def add_mtp_losses(model, weights, x, embedded, batch):
    depths = []
    for depth in range(1, model.mtp.depth + 1):
        own = f"mtp.{depth - 1}."
        ahead = batch.by_document(lambda part: padded(part[depth:], min(depth, len(part.value)), after=True), embedded)
        both = [norm(ahead, weights, own + "embed_norm"), norm(x, weights, own + "hidden_norm")]
        x = project(concatenate(both), weights[own + "eh_proj.weight"])
        for index, family in enumerate(model.mtp.blocks):
            x = join(x, residual(family, {}, weights, x, batch, f"{own}blocks.{index}."))
        x = norm(x, weights, own + "final_norm")
        targets = np.full(batch.targets.shape, -1)
        for document in batch.documents:
            targets[document][:-depth] = batch.targets[document][depth:]
        depths.append(cross_entropy(x, weights["head.weight"], targets))
        batch.depth_losses[f"mtp.{depth}"] = depths[-1]
    batch.add_loss("mtp", model.mtp.weight * sum(depths) / len(depths))


def drawn_spans(model, step, micro):
    """Positions s < r < t of every span (spans,3); the sequence has three tokens or more."""
    bases = draw(random_key(model.train.seed, f"stp.{step}.{micro}"), np.arange(3 * model.stp.spans)) % np.uint64(model.sequence - 2)
    return np.sort(bases.astype(np.int64).reshape(-1, 3)) + np.arange(3)


def add_stp_loss(model, batch):
    """1 - cos between the steps of a span, its mean over spans in one document, rows and layers."""
    rows = [slice(first, first + model.sequence) for first in range(0, batch.tokens.size, model.sequence)]
    total, count = Tensor(0.0), 0
    for s, r, t in batch.spans:
        for row in rows:
            together = any(part.start <= row.start + s and row.start + t < part.stop for part in batch.documents)
            for layer in model.stp.layers if together else []:
                h = batch.streams[layer][row]
                a, b = h[int(r)] - h[int(s)], h[int(t)] - h[int(r)]
                squares = sum_over(square(a)) * sum_over(square(b))
                total, count = total + 1, count + 1
                if squares.value > 1e-8:
                    total = total - sum_over(a * b) / sqrt(squares)
    batch.add_loss("stp", model.stp.weight * total / max(1, count))


def forward(model, weights, batch):
    """The total loss of a micro-batch; its parts and what else is recorded go into the batch."""
    embedded = embed(model, weights, batch)
    x = norm(run_stack(model, weights, embedded, batch), weights, "final_norm")
    batch.add_loss("main", cross_entropy(x, weights["head.weight"], batch.targets))
    if model.mtp:
        add_mtp_losses(model, weights, x, embedded, batch)
    if model.stp:
        add_stp_loss(model, batch)
    return sum(batch.losses.values())


# The training step.

def run_micro_batches(model, values, inputs, step):
    """Means over the micro-batches of losses and gradients, and the batches. values: checkpoint key -> array; inputs: a list of the
    arguments of MicroBatch, by name; step: counted from 0."""
    trained = [key for key, parameter in Table(model).items() if parameter.trained]
    collected, losses, batches = [], [], [MicroBatch(**arrays) for arrays in inputs]
    for micro, batch in enumerate(batches):
        if model.stp and model.sequence > 2 and step >= model.stp.start:
            batch.spans = drawn_spans(model, step, micro)
        weights = {key: Tensor(value) for key, value in values.items()}
        total = forward(model, weights, batch)
        for key, weight in weights.items():
            if layers := [(count @ units, count.sum()) for up, units, count in batch.hidden_layers if up is weight]:
                stacked = [np.array(numbers) for numbers in zip(*layers)]  # of the experts, in their order
                batch.activity[key] = stacked if weight.value.ndim == 3 else [numbers[0] for numbers in stacked]
        batch.hidden_layers.clear()
        collected.append(gradients(total, [weights[key] for key in trained]))
        losses.append({term: float(loss.value) for term, loss in {"total": total, **batch.losses, **batch.depth_losses}.items()})
    means = {key: sum(arrays) / len(batches) for key, arrays in zip(trained, zip(*collected))}
    return {term: sum(loss[term] for loss in losses) / len(batches) for term in losses[0]}, means, batches
