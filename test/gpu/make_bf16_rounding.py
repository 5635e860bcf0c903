#!/usr/bin/env python3
"""What rounding to bf16 alone does to a training step: make_bf16_rounding.py REFERENCE [--realisations N] [--cases CASE...]

REFERENCE is the folder of the float64 reference (model.py, needs PyTorch). Every case of test/e2e/goldens (or those named) is computed with bf16 weights,
fp32 where the model keeps fp32, and every product, norm, activation, attention, scan and residual rounded to bf16, forward and backward: once to nearest,
and N - 1 times to nearest after every number moved by up to a quarter of its spacing, which is what another order of sums does. Prints a line a case for
bf16_rounding.txt: the worst loss and gradient against the golden, measured as compare_bf16.py does. Many realisations, because a router's pick flips in
some of them only.
"""
import argparse, pathlib, sys
import numpy as np
import torch

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument('reference', type=pathlib.Path)
options.add_argument('--cases', nargs='*')
options.add_argument('--realisations', type=int, default=40)
options = options.parse_args()
here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(options.reference), str(here.parent / 'e2e')]
import model
from compare import load_safetensors

torch.set_default_dtype(torch.float64)
SMALL = 1e-3
moves = None  # the generator that moves numbers, None: to nearest


def to_bf16(x):
    if moves is not None:
        spacing = 2.0 ** (torch.floor(torch.log2(x.abs().clamp(min=1e-38))) - 7)
        x = x + spacing * (torch.rand(x.shape, generator=moves) - 0.5) / 2
    return x.to(torch.bfloat16).to(x.dtype)


class Rounded(torch.autograd.Function):
    """The number as bf16, and its gradient as bf16."""
    @staticmethod
    def forward(context, x):
        return to_bf16(x)

    @staticmethod
    def backward(context, gradient):
        return to_bf16(gradient)


def rounds(function):
    def wrapped(*arguments, **names):
        result = function(*arguments, **names)
        return (Rounded.apply(result[0]),) + tuple(result[1:]) if isinstance(result, tuple) else Rounded.apply(result)
    return wrapped


for name in ('linear', 'rms', 'activate', 'attend', 'conv', 'rope', 'residual', 'seq_mamba3', 'm2rnn'):
    setattr(model, name, rounds(getattr(model, name)))


def stack(m, params, x, c):
    """model.stack without mHC; the residual stream is rounded after every block."""
    for b in m.blocks:
        x = Rounded.apply(x + model.residual(b, params, x, c))
        c.hidden.append(x)
    return x


model.stack = stack


def is_fp32(key):
    """Parameters that stay fp32: routers and what the recurrences have beside projections and norms."""
    return any(word in key for word in ('router', 'dt_bias', '.D', 'B_bias', 'C_bias', 'mimo_', 'a_log', 'state_weight', 'skip', 'scale'))


for golden in sorted((here.parent / 'e2e' / 'goldens').glob('*.mlir')):
    if options.cases and golden.stem not in options.cases:
        continue
    case = {key: torch.from_numpy(np.array(value)) for key, value in load_safetensors(str(golden.with_suffix('.safetensors'))).items()}
    m = model.parse(golden.read_text())
    masters = {key[6:]: value.double() for key, value in case.items() if key.startswith('param.')}
    inputs = {key[6:]: value.long() for key, value in case.items() if key.startswith('input.')}
    batches = [{key: value[i] for key, value in inputs.items()} for i in range(len(inputs['tokens']))]
    scale = max(value.abs().max().item() for key, value in case.items() if key.startswith('grad.'))
    worst = {'loss': [], 'grad': []}
    for realisation in range(options.realisations):
        moves = torch.Generator().manual_seed(realisation) if realisation else None
        mine, params, state = {key: torch.zeros(3) for key in case if key.startswith('loss.')}, masters, {}
        for step in range(3):
            weights = {key: value if is_fp32(key) else value.to(torch.bfloat16).double() for key, value in params.items()}
            losses, gradients, contexts = model.gradients(m, weights, batches, step)
            if step == 0:
                mine |= {'grad.' + key: value for key, value in gradients.items()}
            for key, value in losses.items():
                mine['loss.' + key][step] = value
            params, _ = model.update(m, params, gradients, state, contexts)
        errors = {'loss': 0.0, 'grad': 0.0}
        for key, value in case.items():
            if (group := key.split('.')[0]) in errors:
                most = max(value.abs().max().item(), SMALL * scale if group == 'grad' else 1e-30)
                errors[group] = max(errors[group], (mine[key] - value).abs().max().item() / most)
        for group, error in errors.items():
            worst[group].append(error)
    print('%-18s %.1e %.1e   median %.1e %.1e' % (golden.stem, *(max(worst[group]) for group in ('loss', 'grad')),
                                                  *(np.median(worst[group]) for group in ('loss', 'grad'))), flush=True)
