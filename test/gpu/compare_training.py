#!/usr/bin/env python3
"""Compares two training runs.

compare_training.py parameters A.safetensors B.safetensors   every parameter of two checkpoints, the master where it has one, bit by bit
compare_training.py losses RUN RUN LIMIT                     the losses of every step, largest relative difference
compare_training.py held-out RUN RUN LIMIT                   the last held-out loss, relative difference
"""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'e2e'))
from compare import load_safetensors

what, first, second = sys.argv[1:4]
if what == 'parameters':
    first, second = load_safetensors(first), load_safetensors(second)
    parameters = [key for key in first if not key.startswith(('optimizer.', 'data.'))]
    value = lambda file, key: file.get('optimizer.master.' + key, file[key]).tobytes()  # the fp32 one, where the parameter itself is bf16
    changed = [key for key in parameters if key not in second or value(first, key) != value(second, key)]
    print('%d parameters, %d changed' % (len(parameters), len(changed)), *changed[:5])
    sys.exit(bool(changed) or not parameters)
key = {'losses': 'loss', 'held-out': 'held_out_loss'}[what]
runs = [[entry[key] for entry in map(json.loads, open(os.path.join(run, 'metrics.jsonl'))) if key in entry] for run in (first, second)]
assert len(runs[0]) == len(runs[1]) > 0, 'the runs have %d and %d values' % (len(runs[0]), len(runs[1]))
worst = max(abs(b - a) / abs(a) for a, b in zip(*runs))
print('%s: %d values, last %.4f and %.4f, largest relative difference %.1e, limit %s' %
      (what, len(runs[0]), runs[0][-1], runs[1][-1], worst, sys.argv[4]))
sys.exit(worst > float(sys.argv[4]))
