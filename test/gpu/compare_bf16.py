#!/usr/bin/env python3
"""Compares what the card computed in bf16 with a float64 golden: compare_bf16.py GOLDEN.safetensors MINE.safetensors

Every loss within 5e-3 of its golden value, every gradient within 5e-2 of the tensor's largest element; a gradient whose largest element
is below 1e-3 of the largest of the case is measured against that (what reaches it has been rounded to bf16 beside larger numbers). Where
rounding alone gives more than two thirds of a limit (bf16_rounding.txt: routers whose picks flip, scalars whose gradient nearly cancels),
the limit is 1.5 times what it gives: the golden parameters are not bf16 numbers. Exit status 1 on a failure.
"""
import os, sys
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'e2e'))
from compare import load_safetensors

LOSS, GRADIENT, SMALL = 5e-3, 5e-2, 1e-3
golden, mine = map(load_safetensors, sys.argv[1:3])
scale = max(np.abs(v).max() for k, v in golden.items() if k.startswith('grad.'))
worst = {}
for key, expected in golden.items():
    group = key.split('.')[0]
    if group not in ('loss', 'grad'):
        continue
    if key not in mine:
        sys.exit('missing: ' + key)
    error = np.abs(mine[key].astype(np.float64) - expected).max()
    error /= max(np.abs(expected).max(), SMALL * scale) if group == 'grad' else max(np.abs(expected).max(), 1e-30)
    error = error if np.isfinite(error) else np.inf
    if error >= worst.get(group, (-1, ''))[0]:
        worst[group] = (error, key)
case = os.path.splitext(os.path.basename(sys.argv[1]))[0]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'bf16_rounding.txt')) as lines:
    rounding = dict((line.split()[0], line.split()[1:]) for line in lines if not line.startswith('#'))
loss, gradient = map(float, rounding[case])
limits = {'loss': max(LOSS, 1.5 * loss), 'grad': max(GRADIENT, 1.5 * gradient)}
for group, (error, key) in sorted(worst.items()):
    print('%-5s %.1e %s %.1e  %s' % (group, error, 'ok    <' if error <= limits[group] else 'FAILED >', limits[group], key))
sys.exit(any(error > limits[group] for group, (error, _) in worst.items()))
