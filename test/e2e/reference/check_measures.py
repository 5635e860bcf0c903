#!/usr/bin/env python3
"""Compares what a step measures of its blocks (megacc --log-blocks) with the float64 reference: check_measures.py GOLDEN MINE.safetensors

GOLDEN is a case without its suffix, MINE what megacc-run dumped of it. Of the last micro-batch of the first step: block_norm, the norm of
the residual stream behind each block; attention_entropy, the mean over rows, heads and queries of -sum p log p; state_norm, the mean over
rows and heads of the norm of the state behind the last token of a row. States come from recurrences token by token. Exit status 1 where a
number is more than 1e-5 off, or is there where it should not be.
"""
import math
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import model as reference
from compare import load_safetensors
from declaration import read_declaration

LIMIT = 1e-5
current = None  # the block that is being computed
entropies, states = {}, {}  # of each block, in the order of its documents: all entropies, and the last state of each head


def recorded(name, record):
    """Replaces a function of the reference by one that also records."""
    original = getattr(reference, name)

    def wrapped(*arguments):
        record(*arguments)
        return original(*arguments)
    setattr(reference, name, wrapped)


def record_entropy(q, k, v, allowed=None, bias=None):
    if bias is not None:
        return  # scores with a bias are not measured
    allowed = np.tri(len(k.value), dtype=bool) if allowed is None else allowed
    p = reference.attention_weights(q, k, allowed).value
    entropies.setdefault(current, []).append(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1).reshape(-1))


def record_m2rnn(q, k, v, kept, state_weight):
    (length, heads, value), key = v.shape, k.shape[1]
    state = np.zeros((heads, key, value))
    for token in range(length):
        z = np.tanh(state @ state_weight.value + k.value[token][None, :, None] * v.value[token][:, None])
        f = kept.value[token][:, None, None]
        state = f * state + (1 - f) * z
    states.setdefault(current, []).append(np.sqrt((state ** 2).sum((1, 2))))


def record_mamba3(family, weights, z, x, b, c, step, rate, trapezoid, angle, cut):
    softplus = lambda values: np.logaddexp(values, 0)
    length, heads, groups, ranks = len(z.value), family.heads, family.groups, family.rank
    step = softplus(step.value + weights["dt_bias"].value)
    rate = rate.value
    rate = -softplus(rate) if family.decay == "softplus" else np.where(rate < 0, -1 / (1 - np.minimum(rate, 0)), -1 - rate)
    alpha = np.exp(np.minimum(rate, -1e-4) * step - (0 if cut is None else cut.value))
    share = 1 / (1 + np.exp(-trapezoid.value))
    keys = b.value.reshape(length, ranks, groups, family.state)
    keys = keys / np.sqrt((keys ** 2).mean(-1, keepdims=True) + reference.EPSILON) * weights["B_norm.weight"].value
    keys = keys[:, :, np.arange(heads) * groups // heads] + weights["B_bias"].value.transpose(1, 0, 2)
    u = x.value.reshape(length, heads, 1, family.head_dim) * np.ones((ranks, 1))
    if family.variant == "mimo":
        u = u * weights["mimo_x"].value
    pair = np.arange(family.angles)
    first, second = (pair, pair + family.state // 2) if family.variant == "mimo" else (2 * pair, 2 * pair + 1)
    theta, previous = np.zeros((heads, family.angles)), np.zeros((heads, family.state, family.head_dim))
    state = np.zeros_like(previous)
    for token in range(length):
        theta = theta + step[token][:, None] * math.pi * np.tanh(angle.value[token])
        key = keys[token].copy()
        key[..., first] = keys[token][..., first] * np.cos(theta) - keys[token][..., second] * np.sin(theta)
        key[..., second] = keys[token][..., first] * np.sin(theta) + keys[token][..., second] * np.cos(theta)
        write = np.einsum("rhn,hrp->hnp", key, u[token])
        of = lambda values: values[token][:, None, None]
        state = of(alpha) * state + of((1 - share) * step * alpha) * previous + of(share * step) * write
        previous = write
    states.setdefault(current, []).append(np.sqrt((state ** 2).sum((1, 2))))


def main():
    golden, mine = load_safetensors(sys.argv[1] + ".safetensors"), load_safetensors(sys.argv[2])
    model = read_declaration(Path(sys.argv[1] + ".mlir").read_text())
    recorded("attend", record_entropy)
    recorded("m2rnn_scan", record_m2rnn)
    recorded("mamba3_scan", record_mamba3)
    residual = reference.residual

    def named(family, placed, weights, x, batch, block):
        global current
        current = block
        return residual(family, placed, weights, x, batch, block)
    reference.residual = named
    inputs = {key[6:]: value[-1].astype(np.int64) for key, value in golden.items() if key.startswith("input.")}
    values = {key[6:]: value.astype(np.float64) for key, value in golden.items() if key.startswith("param.")}
    _, _, batches = reference.run_micro_batches(model, values, [inputs], 0)
    documents = batches[0].documents
    ends = [index for index, document in enumerate(documents) if document.stop % model.sequence == 0]
    expected = {"block_norm": np.full(model.depth, np.nan), "attention_entropy": np.full(model.depth, np.nan),
                "state_norm": np.full(model.depth, np.nan)}
    for slot in range(model.depth):
        block = f"blocks.{slot}."
        streams = len({kind for placed in model.placed for kind in placed} & {"mhc"})
        if not streams:
            expected["block_norm"][slot] = np.sqrt((golden[f"hidden.{slot}"][-1].astype(np.float64) ** 2).sum())
        if block in entropies:
            expected["attention_entropy"][slot] = np.concatenate(entropies[block]).mean()
        if block in states:
            expected["state_norm"][slot] = np.mean([states[block][index] for index in ends])
    failed = not (entropies or states)
    for name, wanted in expected.items():
        got = mine.get("measured." + name, np.full(model.depth, np.nan)).astype(np.float64)
        if name == "block_norm" and streams:
            continue  # of all streams, not of their mean
        same = np.isnan(got) == np.isnan(wanted)
        error = np.nanmax(abs(got - wanted) / np.maximum(abs(wanted), 1e-3), initial=0.0)
        bad = not same.all() or error > LIMIT
        print(f"{name:18} {'FAILED' if bad else 'ok'} {error:.1e}  {' '.join(f'{value:.6g}' for value in got)}")
        failed |= bad
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
