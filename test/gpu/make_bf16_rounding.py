#!/usr/bin/env python3
"""What rounding to bf16 alone does to a training step: make_bf16_rounding.py [--realisations N] [--cases CASE...]

Every case of test/e2e/goldens (or those named) is computed by the float64 reference with bf16 weights, fp32 where the model keeps fp32,
and every product, norm, activation, attention, scan and residual rounded to bf16, forward and backward: once to nearest, and N - 1 times
to nearest after every number moved by up to a quarter of its spacing, which is what another order of sums does. Prints a line a case for
bf16_rounding.txt: the worst loss and gradient against the golden, measured as compare_bf16.py does. Many realisations, because a router's
pick flips in some of them only.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

E2E = Path(__file__).resolve().parent.parent / "e2e"
sys.dont_write_bytecode = True
sys.path[:0] = [str(E2E), str(E2E / "reference")]

import model as reference  # its functions call one another by name, so that replacing one replaces it everywhere
from autodiff import Tensor
from compare import load_safetensors
from declaration import read_declaration
from interventions import Interventions
from optimizer import Optimizer

SMALL = 1e-3
FP32 = ("router", "dt_bias", ".D", "B_bias", "C_bias", "mimo_", "A_log", "state_weight",
        "mhc.bias", ".alpha", "embedding.scale", "state_gate.bias", "relation_bias")  # in the names of parameters that stay fp32
moves = None  # the generator that moves numbers, None: to nearest


def to_bf16(x):
    """To nearest even; x is float64."""
    if moves is not None:
        spacing = 2.0 ** (np.floor(np.log2(np.maximum(abs(x), 1e-38))) - 7)
        x = x + spacing * (moves.random(x.shape) - 0.5) / 2
    bits = np.asarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


def rounds(function):
    def wrapped(*arguments):
        exact = function(*arguments)
        return Tensor(to_bf16(exact.value), [(exact, to_bf16)])
    return wrapped


for name in ("project", "rms_norm", "norm", "attend", "gated", "causal_convolution", "rope", "mamba3_scan", "m2rnn_scan", "delta_rule",
             "engram", "residual", "join"):
    setattr(reference, name, rounds(getattr(reference, name)))
for name, function in reference.ACTIVATIONS.items():
    reference.ACTIVATIONS[name] = rounds(function)


def errors(model, golden, inputs):
    """Worst loss and gradient of one realisation."""
    values = {key[6:]: value.astype(np.float64) for key, value in golden.items() if key.startswith("param.")}
    optimizer, losses = Optimizer(model), []
    interventions = Interventions(model, optimizer)
    for step in range(3):
        weights = {key: value if any(word in key for word in FP32) else to_bf16(value) for key, value in values.items()}
        loss, gradients, batches = reference.run_micro_batches(model, weights, inputs, step)
        if step == 0:
            first = gradients
        losses.append(loss)
        values, _ = optimizer.update(values, gradients, batches)
        values = interventions.apply(values, gradients, batches)
    scale = max(abs(value).max() for key, value in golden.items() if key.startswith("grad."))
    loss_error = max(max(abs(golden["loss." + term] - [loss[term] for loss in losses])) / max(abs(golden["loss." + term]).max(), 1e-30)
                     for term in losses[0])
    return loss_error, max(abs(golden["grad." + key] - value).max() / max(abs(golden["grad." + key]).max(), SMALL * scale)
                           for key, value in first.items())


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--cases", nargs="*")
parser.add_argument("--realisations", type=int, default=5)
options = parser.parse_args()
for declaration in sorted((E2E / "goldens").glob("*.mlir")):
    if options.cases and declaration.stem not in options.cases:
        continue
    golden = load_safetensors(declaration.with_suffix(".safetensors"))
    arrays = {key[6:]: value.astype(np.int64) for key, value in golden.items() if key.startswith("input.")}
    inputs = [{key: value[micro] for key, value in arrays.items()} for micro in range(len(arrays["tokens"]))]
    found = []
    for realisation in range(options.realisations):
        moves = np.random.default_rng(realisation) if realisation else None
        found.append(errors(read_declaration(declaration.read_text()), golden, inputs))
    print("%-18s %.1e %.1e   median %.1e %.1e" % (declaration.stem, *np.max(found, 0), *np.median(found, 0)), flush=True)
