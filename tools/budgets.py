"""Plans of a declaration at budgets from the smallest that some plan meets to one that keeps everything."""
import json, subprocess


def plan(megacc, *arguments):
    """The plan as megacc prints it with --json."""
    return json.loads(subprocess.run([megacc, *arguments, '--emit=plan', '--json'], stdout=subprocess.PIPE, check=True).stdout)


def descend(megacc, arguments, count=10):
    """Plans at `count` budgets, evenly apart, from the least; the last one keeps everything."""
    kept = plan(megacc, *arguments)
    least, most = kept['minimum_bytes'], kept['total_bytes']
    return [plan(megacc, *arguments, '--memory=%dB' % (least + (most - least) * i // (count - 1))) for i in range(count)]


# What frameworks let people choose, by hand, for models/nam56r.mlir: the modules of Megatron's selective recompute, whole layers, all.
LISTS = {'activation of experts': 'E:mixer/activation', 'up projections of MLA': 'A:mixer/q_up,A:mixer/kv_up',
         'products of experts': 'E:mixer/experts.*', 'both of the first two': 'E:mixer/activation,A:mixer/q_up,A:mixer/kv_up',
         'whole layers M and R': 'M:*,R:*', 'these and the first two': 'M:*,R:*,E:mixer/activation,A:mixer/q_up,A:mixer/kv_up',
         'full': 'full'}


def beside(megacc, arguments):
    """For every list its name, its plan, and the one that megacc makes of the same memory."""
    for name, what in LISTS.items():
        listed = plan(megacc, *arguments, '--recompute', what)
        yield name, listed, plan(megacc, *arguments, '--memory=%dB' % listed['total_bytes'])


def is_beaten(name, listed, planned):
    """Whether the list is faster than the plan. Budgets that are tried lie 1 % apart, so a list that is nearly the best may be by a little;
    whole layers never are."""
    return planned['step_ms'] > listed['step_ms'] * (1 if name in ('whole layers M and R', 'full') else 1.001)


def arena(plan):
    """Bytes of the temporaries over what is alive at one launch."""
    return plan['bytes']['temporaries'] / plan['peak']['live_bytes']


def faults(plans):
    """What must hold of these plans and does not, as lines."""
    found = []
    for before, now in zip([None] + plans, plans):
        budget = now['budget_bytes']
        if now['total_bytes'] > budget:
            found.append('%d bytes for a budget of %d' % (now['total_bytes'], budget))
        if now['minimum_bytes'] != plans[0]['minimum_bytes']:
            found.append('at %d bytes another minimum, %d' % (budget, now['minimum_bytes']))
        if now['gap'] is None or not -1e-9 <= now['gap'] <= 0.01:
            found.append('at %d bytes a gap of %s' % (budget, now['gap']))
        if before and now['step_ms'] > before['step_ms']:
            found.append('%g ms at %d bytes, %g with less' % (now['step_ms'], budget, before['step_ms']))
        if arena(now) > 1.02:
            found.append('at %d bytes an arena of %.3f times what is alive' % (budget, arena(now)))
    if plans[-1]['ms']['again'] != 0:
        found.append('computes again where everything fits')
    return found
