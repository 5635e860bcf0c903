"""Clip, AdamW, Muon and router biases of one step in float64, and moments rounded to bf16 (docs/conventions.md, section 14)."""
import fnmatch
import math
import re

import numpy as np

from parameters import Table, draw, random_key

QUINTIC = 3.4445, -4.7750, 2.0315


def packed(*segments):
    """Rows of segments that follow one another, each (rows, rows of a head or 0)."""
    edges = np.cumsum([0] + [rows for rows, _ in segments])
    return [(np.arange(first, first + rows), head) for first, (rows, head) in zip(edges, segments)]


def interleaved(heads, *sizes):
    """Rows of segments of which every head has some, one segment after the other."""
    rows, edges = np.arange(heads * sum(sizes)).reshape(heads, -1), np.cumsum((0,) + sizes)
    return [(rows[:, first:first + size].reshape(-1), size) for first, size in zip(edges, sizes)]


def mixer_segments(family, hidden):
    """Ends of the keys of a mixer's matrices -> their segments."""
    whole = packed((hidden, 0))
    if family.kind in ("mlp", "moe"):
        parts = {"": family.width} if family.kind == "mlp" else {"experts.": family.width, "shared.": family.shared}
        halves = 2 if family.activation == "swiglu" else 1
        return {prefix + key: rows for prefix, width in parts.items() if width
                for key, rows in (("up.weight", packed(*[(width, 0)] * halves)), ("down.weight", whole))}
    found = {"out_proj.weight": whole}
    if family.kind == "attention":
        dim = family.head_dim
        found["qkv_proj.weight"] = packed((family.heads * dim, dim), (family.kv_heads * dim, dim), (family.kv_heads * dim, dim))
    if family.kind == "mla":
        found["q_down.weight"] = packed((family.q_rank, 0))
        found["q_up.weight"] = interleaved(family.heads, family.nope, family.rope)
        found["kv_down.weight"] = packed((family.kv_rank, 0), (family.rope, 0))
        found["kv_up.weight"] = interleaved(family.heads, family.nope, family.value)
    if family.kind in ("attention", "mla") and family.gate != "none":
        width = family.head_dim if family.kind == "attention" else family.value
        found["gate_proj.weight"] = packed((family.heads * width, width) if family.gate == "channel" else (family.heads, 0))
    if family.kind == "gated_deltanet":
        keys, values, heads = (family.key_heads * family.key, family.key), (family.heads * family.value, family.value), (family.heads, 0)
        found["in_proj.weight"] = packed(keys, keys, values, values, heads, heads)
    if family.kind == "mamba3":
        shared, heads = family.groups * family.state * family.rank, family.heads
        found["in_proj.weight"] = packed((family.inner, family.head_dim), (family.inner, family.head_dim), (shared, 0), (shared, 0),
                                         (heads, 0), (heads, 0), (heads, 0), (family.angles, 0))
    if family.kind == "m2rnn":
        own = family.heads * family.value
        found["in_proj.weight"] = packed((family.key, 0), (family.key, 0), (own, family.value), (family.heads, 0), (own, family.value))
    if family.kind == "concept":
        found |= {f"{name}_proj.weight": packed((hidden, hidden // family.heads)) for name in "qkv"}
    return found


def matrices(model):
    """Checkpoint key -> segments of every matrix."""
    hidden, found = model.hidden, {}
    for slot, family in enumerate(model.blocks):
        found |= {f"blocks.{slot}.mixer.{key}": rows for key, rows in mixer_segments(family, hidden).items()}
    for depth in range(model.mtp.depth if model.mtp else 0):
        for index, family in enumerate(model.mtp.blocks):
            found |= {f"mtp.{depth}.blocks.{index}.mixer.{key}": rows for key, rows in mixer_segments(family, hidden).items()}
    for key, parameter in Table(model).items():
        if re.search(r"engram\.(?!conv)|eh_proj|(ngram_hash|structure)\.proj", key):
            found[key] = packed((parameter.shape[0], 0))
    return found


def cut(segments, split):
    """The rows of every piece of a matrix."""
    if split == "none":
        return [np.sort(np.concatenate([rows for rows, _ in segments]))]
    return [piece for rows, head in segments for piece in (rows.reshape(-1, head) if head and split == "heads" else rows[None])]


def is_named(model, pattern, key):
    """Whether [LETTER:]GLOB names a key."""
    if pattern[1:2] == ":":
        block = re.match(r"blocks\.(\d+)\.", key)
        if not block or model.letters[int(block[1])] != pattern[0]:
            return False
        pattern, key = pattern[2:], key[block.end():]
    return fnmatch.fnmatchcase(key, pattern)


def orthogonalised(u, iterations):
    """The direction of a momentum u (m,n)."""
    x = (u if u.shape[0] <= u.shape[1] else u.T) / (math.sqrt(np.vdot(u, u)) + 1e-7)
    first, third, fifth = QUINTIC
    for _ in range(iterations):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x if u.shape[0] <= u.shape[1] else x.T


def rounded_bits(values, draws):
    """bf16 bits of float32 values, up with the chance that the low 16 bits of `draws` give, but never to infinity."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    up = bits + (draws & np.uint64(0xFFFF)) >> np.uint64(16)
    return np.where(up & np.uint64(0x7F80) == np.uint64(0x7F80), bits >> np.uint64(16), up).astype(np.uint32)


def draws_of(model, key, step, count):
    return draw(int(draw(random_key(model.train.seed, "round." + key), [step])[0]), np.arange(count))


class Optimizer:
    """What one step does with the gradients; `moments` holds (key, 1) and (key, 2)."""

    def __init__(self, model):
        self.model, self.table, self.step, self.moments = model, Table(model), 0, {}
        rule = model.optimizer
        self.pieces = {key: cut(segments, rule.split) for key, segments in matrices(model).items()
                       if not any(is_named(model, pattern, key) for pattern in rule.exceptions)} if rule.kind == "muon" else {}

    def update(self, values, gradients, batches):
        """New values, and the norm of the gradients."""
        self.step += 1
        clip = self.model.train.clip
        norm = math.sqrt(sum(np.vdot(gradient, gradient) for gradient in gradients.values()))
        scale = clip / (norm + 1e-6) if 0 < clip < norm + 1e-6 else 1.0
        updated = values | {key: (self.muon if key in self.pieces else self.adamw)(key, values[key], scale * gradient)
                            for key, gradient in gradients.items()}
        for block in batches[0].picks:
            bias = updated.get(block + "mixer.router.bias")
            if bias is not None:
                family = self.model.blocks[int(block.split(".")[1])]
                picks = sum(batch.picks[block] for batch in batches)
                change = family.bias_rate * np.sign(picks.mean() - picks)
                updated[block + "mixer.router.bias"] = bias + np.append(change, np.zeros(len(bias) - len(change)))
        return updated, norm

    def keep(self, key, power, moment):
        """Stores a moment, rounded where they are bf16."""
        if self.model.train.moments == "bf16":
            draws = draws_of(self.model, key, self.step, moment.size).reshape(moment.shape) >> np.uint64(16 * (power - 1))
            moment = (rounded_bits(moment, draws) << np.uint32(16)).view(np.float32).astype(np.float64)
        self.moments[key, power] = moment

    def adamw(self, key, value, gradient):
        settings = self.model.optimizer
        corrected = []
        for beta, power in ((settings.beta1, 1), (settings.beta2, 2)):
            old = self.moments.get((key, power), 0.0)
            moment = old + (1 - beta) * (gradient ** power - old)
            corrected.append(moment / (1 - beta ** self.step))
            self.keep(key, power, moment)
        decay = settings.decay * value if self.table[key].decays else 0.0
        return value - settings.lr * (decay + corrected[0] / (np.sqrt(corrected[1]) + settings.eps))

    def muon(self, key, value, gradient):
        rule = self.model.optimizer
        momentum = rule.momentum * self.moments.get((key, 1), 0.0) + (1 - rule.momentum) * gradient
        self.keep(key, 1, momentum)
        ahead = rule.momentum * momentum + (1 - rule.momentum) * gradient if rule.nesterov else momentum
        value = (1 - rule.lr * rule.decay) * value
        for expert in np.ndindex(value.shape[:-2]):
            for rows in self.pieces[key]:
                piece = ahead[expert][rows]
                value[expert][rows] -= rule.lr * rule.rms * math.sqrt(max(piece.shape)) * orthogonalised(piece, rule.iterations)
        return value
