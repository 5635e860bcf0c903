"""FIRE, DASH and ReDo after a step, in float64 (docs/conventions.md, section 20)."""
import math

import numpy as np

from optimizer import QUINTIC, is_named, matrices
from parameters import Table, draw, draw_unit, random_key

POLISH = 15 / 8, -10 / 8, 3 / 8
# Names of segments, where a matrix has several, by the end of its key.
NAMES = {"qkv_proj": "q k v", "q_up": "q_nope q_rope", "kv_down": "c_kv k_pe", "kv_up": "k_nope v", "up": "gate up"}
SMALLEST_MARGIN = 1e-2  # of a unit's activity from the threshold


def is_due(rule, step):
    if rule.at:
        return step in rule.at
    return step % rule.every == 0 and step > rule.start and (not rule.stop or step <= rule.stop)


def takes(model, pattern, key, segment):
    matrix, _, name = pattern.partition("#")
    return is_named(model, matrix, key) and name in ("", segment)


def pieces_of(model, rule):
    """(key, rows) of every piece that the rule changes."""
    for key, segments in matrices(model).items():
        names = NAMES.get(key.split(".")[-2], "").split() if len(segments) > 1 else [""]
        for index, (rows, _) in enumerate(segments):
            segment = names[index] if index < len(names) else ""
            if any(takes(model, pattern, key, segment) for pattern in rule.on):
                if not any(takes(model, pattern, key, segment) for pattern in rule.exceptions):
                    yield key, rows


def iterated(x, coefficients):
    first, third, fifth = coefficients
    product = x @ x.T
    return first * x + (third * product + fifth * product @ product) @ x


def polar(piece, iterations):
    """The nearest matrix with orthonormal rows or columns."""
    x = piece if piece.shape[0] <= piece.shape[1] else piece.T
    x = x / math.sqrt(np.vdot(x, x))
    for coefficients in [QUINTIC] * iterations + [POLISH] * 4:
        x = iterated(x, coefficients)
    return x if piece.shape[0] <= piece.shape[1] else x.T


def burned(rule, piece):
    norm, (rows, columns) = math.sqrt(np.vdot(piece, piece)), piece.shape
    if norm == 0:
        return piece
    return polar(piece, rule.iterations) * (norm / math.sqrt(min(rows, columns)) if rule.scale == "norm" else math.sqrt(rows / columns))


def shrunk(rule, piece, descent):
    """Every row times its factor."""
    lengths = np.linalg.norm(piece, axis=1) * np.linalg.norm(descent, axis=1)
    cosine = (piece * descent).sum(1) / np.where(lengths > 0, lengths, 1)
    factor = np.clip(cosine, rule.floor, 1) if rule.rule == "clamp" else 1 - rule.rate * np.maximum(-cosine - rule.margin, 0)
    return np.where(lengths > 0, factor, 1)[:, None] * piece


def fresh_values(model, key, parameter, step):
    stream = int(draw(random_key(model.train.seed, "redo." + key), [step])[0])
    index = np.arange(math.prod(parameter.shape), dtype=np.uint64)
    radius = np.sqrt(-2 * np.log1p(-draw_unit(stream, 2 * index)))
    values = parameter.initial[1] * radius * np.cos(2 * math.pi * draw_unit(stream, 2 * index + np.uint64(1)))
    return values.astype(np.float32).astype(np.float64).reshape(parameter.shape)


class Interventions:
    """What is declared, in its order; `margin` is the smallest relative distance of a verdict of ReDo from the other."""

    def __init__(self, model, optimizer):
        self.model, self.optimizer, self.margin = model, optimizer, 1.0

    def apply(self, values, gradients, batches):
        """New values after the step that the optimizer did; its moments change in place."""
        values = {key: value.copy() for key, value in values.items()}
        moments = self.optimizer.moments
        for name in moments:
            moments[name] = moments[name].copy()
        for rule in self.model.train.interventions:
            if not is_due(rule, self.optimizer.step):
                continue
            if rule.kind == "redo":
                self.redo(rule, values, batches)
                continue
            for key, rows in pieces_of(self.model, rule):
                for expert in np.ndindex(values[key].shape[:-2]):
                    piece = values[key][expert][rows]
                    if rule.kind == "fire":
                        values[key][expert][rows] = burned(rule, piece)
                    else:
                        source = gradients[key] if rule.direction == "gradient" else moments[key, 1]
                        values[key][expert][rows] = shrunk(rule, piece, -source[expert][rows])
                    for power in (1, 2) if rule.moments == "reset" else ():
                        if (key, power) in moments:
                            moments[key, power][expert][rows] = 0
        return values

    def redo(self, rule, values, batches):
        table, moments = Table(self.model), self.optimizer.moments
        for key in dict.fromkeys(key for key, _ in pieces_of(self.model, rule) if key.endswith(".up.weight")):
            activity = sum(batch.activity[key][0] for batch in batches)
            tokens = sum(batch.activity[key][1] for batch in batches)
            average = activity.mean(-1, keepdims=True)
            judged = (np.reshape(tokens, average.shape) >= rule.tokens) & (average > 0)
            dormant = judged & (activity <= rule.tau * average)
            scores = (activity / np.where(average > 0, rule.tau * average, np.inf))[np.broadcast_to(judged, activity.shape)]
            self.margin = min(self.margin, np.abs(scores - 1).min(initial=1.0))
            down = key[:-len("up.weight")] + "down.weight"
            rows = np.concatenate([dormant] * (values[key].shape[-2] // activity.shape[-1]), -1)
            values[key][rows] = fresh_values(self.model, key, table[key], self.optimizer.step)[rows]
            columns = np.broadcast_to(dormant[..., None, :], values[down].shape)
            values[down][columns] = 0
            for power in (1, 2):
                for name, mask in ((key, rows), (down, columns)):
                    if (name, power) in moments:
                        moments[name, power][mask] = 0
