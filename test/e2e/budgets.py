#!/usr/bin/env python3
"""budgets.py BIN: plans at ten budgets are close to the optimum, monotone and packed closely; on a card none of the lists that people make
by hand is faster in the same memory."""
import os, sys

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(root, 'tools'))
sys.dont_write_bytecode = True
import budgets

megacc = os.path.join(sys.argv[1], 'megacc')
models = {name: os.path.join(root, 'models', name + '.mlir') for name in ('dense-tiny', 'nam56r-tiny', 'nam56r-quarter', 'nam56r')}
card = ['--target=sm_90a', '--micro-batch', '8']
faults = []
for arguments in [models['dense-tiny']], [models['nam56r-tiny']], [models['nam56r-quarter']], [models['nam56r'], *card]:
    plans = budgets.descend(megacc, arguments)
    print('%s: gap at most %.3f %%, arena at most %.4f' % (' '.join(arguments), 100 * max(plan['gap'] for plan in plans),
                                                          max(budgets.arena(plan) for plan in plans)))
    assert len({plan['step_ms'] for plan in plans}) > 5, 'the budgets make no difference'
    faults += budgets.faults(plans)

# The reference's 52 layers: most of the lists do not fit, a plan does, and is faster than each in its own memory.
chosen = budgets.plan(megacc, models['nam56r'], *card, '--memory=132GiB')
assert chosen['total_bytes'] <= 132 * 2**30
too_big = 0
for name, listed, planned in budgets.beside(megacc, [models['nam56r'], *card]):
    print('%-24s %.2f GiB, %.2f ms; megacc in the same %.2f ms' %
          (name, listed['total_bytes'] / 2**30, listed['step_ms'], planned['step_ms']))
    if budgets.is_beaten(name, listed, planned) or planned['total_bytes'] > listed['total_bytes']:
        faults.append('%s: faster than the plan' % name)
    if listed['total_bytes'] > 132 * 2**30:
        too_big += 1
    elif listed['step_ms'] < chosen['step_ms']:
        faults.append('%s: faster than the plan at 132 GiB' % name)
assert too_big >= 4, too_big
sys.exit('\n'.join(faults) or None)
