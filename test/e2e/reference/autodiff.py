"""Reverse-mode differentiation of numpy expressions in float64: just what the reference model needs, written to be checked by reading.

A Tensor holds a value and, for each Tensor it was made from, the function that turns its gradient into that one's. Numbers and plain
arrays among the operands are constants.
"""
import itertools
import math

import numpy as np

created = itertools.count()


class Tensor:
    def __init__(self, value, sources=()):
        self.value = np.asarray(value, np.float64)
        self.sources = sources  # pairs: a Tensor, and the function from this one's gradient to that one's
        self.order = next(created)

    @property
    def shape(self):
        return self.value.shape

    def __neg__(self):
        return Tensor(-self.value, [(self, lambda g: -g)])

    def __add__(self, other):
        return binary(np.add, self, other, lambda g, a, b: g, lambda g, a, b: g)

    def __sub__(self, other):
        return binary(np.subtract, self, other, lambda g, a, b: g, lambda g, a, b: -g)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        return binary(np.multiply, self, other, lambda g, a, b: g * b, lambda g, a, b: g * a)

    def __truediv__(self, other):
        return binary(np.divide, self, other, lambda g, a, b: g / b, lambda g, a, b: -g * a / (b * b))

    def __rtruediv__(self, other):
        return Tensor(other) / self

    def __getitem__(self, index):
        def scatter(g):
            whole = np.zeros(self.shape)
            np.add.at(whole, index, g) if holds_array(index) else whole.__setitem__(index, g)
            return whole
        return Tensor(self.value[index], [(self, scatter)])

    __radd__, __rmul__ = __add__, __mul__
    __array_ufunc__ = None  # an array on the left leaves the operator to the Tensor on the right


def holds_array(index):
    """Whether an index may name an element twice."""
    return any(isinstance(part, (np.ndarray, list)) for part in (index if isinstance(index, tuple) else (index,)))


def value_of(x):
    return x.value if isinstance(x, Tensor) else np.asarray(x)


def unbroadcast(gradient, shape):
    """Sums over the axes along which an operand of this shape was repeated."""
    gradient = gradient.sum(tuple(range(gradient.ndim - len(shape))))
    return gradient.sum(tuple(axis for axis, size in enumerate(shape) if size == 1 < gradient.shape[axis]), keepdims=True)


def binary(function, left, right, left_gradient, right_gradient):
    a, b = value_of(left), value_of(right)
    sources = []
    if isinstance(left, Tensor):
        sources.append((left, lambda g: unbroadcast(left_gradient(g, a, b), a.shape)))
    if isinstance(right, Tensor):
        sources.append((right, lambda g: unbroadcast(right_gradient(g, a, b), b.shape)))
    return Tensor(function(a, b), sources)


def unary(x, value, slope):
    return Tensor(value, [(x, lambda g: g * slope)])


def exp(x):
    y = np.exp(x.value)
    return unary(x, y, y)


def log(x):
    return unary(x, np.log(x.value), 1 / x.value)


def sqrt(x):
    y = np.sqrt(x.value)
    return unary(x, y, 0.5 / y)


def tanh(x):
    y = np.tanh(x.value)
    return unary(x, y, 1 - y * y)


def cosine(x):
    return unary(x, np.cos(x.value), -np.sin(x.value))


def sine(x):
    return unary(x, np.sin(x.value), np.cos(x.value))


def logistic(value):
    return np.exp(-np.logaddexp(0, -value))


def sigmoid(x):
    y = logistic(x.value)
    return unary(x, y, y * (1 - y))


def softplus(x):
    return unary(x, np.logaddexp(x.value, 0), logistic(x.value))


def relu(x):
    return unary(x, np.maximum(x.value, 0), (x.value > 0).astype(float))


def normal_cdf(x):
    y = np.vectorize(math.erf, otypes=[float])(x.value / math.sqrt(2))
    return unary(x, 0.5 * (1 + y), np.exp(-0.5 * x.value ** 2) / math.sqrt(2 * math.pi))


def square(x):
    return unary(x, x.value ** 2, 2 * x.value)


def minimum(x, bound):
    """No gradient where the bound is active."""
    return unary(x, np.minimum(x.value, bound), (x.value < bound).astype(float))


def where(mask, x, y):
    """x where the mask holds, else y, which may be a number."""
    return mask * x + ~mask * y


def sum_over(x, axis=None, keepdims=False):
    def repeat(g):
        return np.broadcast_to(g if keepdims or axis is None else np.expand_dims(g, axis), x.shape)
    return Tensor(x.value.sum(axis, keepdims=keepdims), [(x, repeat)])


def mean(x, axis=None, keepdims=False):
    total = sum_over(x, axis, keepdims)
    return total * (total.value.size / x.value.size)


def reshape(x, *shape):
    return Tensor(x.value.reshape(shape), [(x, lambda g: g.reshape(x.shape))])


def concatenate(parts, axis=-1):
    ends = np.cumsum([part.shape[axis] for part in parts])
    piece = lambda index: lambda g: np.split(g, ends[:-1], axis)[index]
    return Tensor(np.concatenate([part.value for part in parts], axis), [(part, piece(index)) for index, part in enumerate(parts)])


def split(x, sizes, axis=-1):
    """Pieces of these sizes along an axis; the last one takes what is left where its size is None."""
    ends = np.cumsum([size for size in sizes if size is not None])
    starts = [0, *ends][:len(sizes)]
    before = (slice(None),) * (axis % x.value.ndim)
    return [x[before + (slice(start, None if size is None else start + size),)] for start, size in zip(starts, sizes)]


def stack(parts, axis):
    piece = lambda index: lambda g: np.take(g, index, axis)
    return Tensor(np.stack([part.value for part in parts], axis), [(part, piece(index)) for index, part in enumerate(parts)])


def einsum(subscripts, *operands):
    """np.einsum where every letter of an operand is in the result or in another operand."""
    inputs, output = subscripts.split("->")
    inputs = inputs.split(",")
    values = [value_of(operand) for operand in operands]

    def gradient(index):
        others = [place for place in range(len(values)) if place != index]
        rule = ",".join([output] + [inputs[place] for place in others]) + "->" + inputs[index]
        return lambda g: np.einsum(rule, g, *[values[place] for place in others], optimize=True)
    sources = [(operand, gradient(index)) for index, operand in enumerate(operands) if isinstance(operand, Tensor)]
    return Tensor(np.einsum(subscripts, *values, optimize=True), sources)


def log_sum_exp(x):
    """Over the last axis, which stays with size 1. The largest element only keeps exp in range, so it may be a constant."""
    largest = x.value.max(-1, keepdims=True)
    return log(sum_over(exp(x - largest), -1, keepdims=True)) + largest


def softmax(x):
    return exp(x - log_sum_exp(x))


def gradients(result, wanted):
    """Gradients of a scalar with respect to the wanted Tensors, zeros where it does not depend on them."""
    reached, pending = {result.order: result}, [result]
    while pending:
        for source, _ in pending.pop().sources:
            if source.order not in reached:
                reached[source.order] = source
                pending.append(source)
    known = {result.order: np.ones(())}
    for order in sorted(reached, reverse=True):  # a Tensor is made after its sources
        for source, pull in reached[order].sources if order in known else ():
            known[source.order] = known.get(source.order, 0) + pull(known[order])
    return [np.array(np.broadcast_to(known.get(tensor.order, 0.0), tensor.shape)) for tensor in wanted]
