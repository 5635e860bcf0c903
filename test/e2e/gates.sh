#!/usr/bin/env bash
# gates.sh BIN: what gates, rotations and biases are where they are nothing. A case is run with a feature and without; everything that both
# have is the same.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
run() { # NAME: the case NAME.safetensors of NAME.mlir
  "$bin/megacc" "$work/$1.mlir" -o "$work/$1.so" --documents
  "$bin/megacc-run" "$work/$1.so" --case "$work/$1.safetensors" --dump "$work/$1.results"
}
# A case with its parameters changed by a Python statement over the arrays in p, by key; and two results compared.
cat >"$work/cases.py" <<'END'
import sys
sys.path[:0] = [sys.argv[1] + '/reference', sys.argv[1]]
import json, struct
import numpy as np
from compare import load_safetensors
from make_golden import save_safetensors

def edit(source, target, statement):
    case = {name: value for name, value in load_safetensors(source).items() if name.split('.')[0] in ('param', 'input')}
    p = {name[6:]: value.copy() for name, value in case.items() if name.startswith('param.')}
    exec(statement, {'p': p, 'np': np})
    inputs = {name: value for name, value in case.items() if name.startswith('input.')}
    save_safetensors(target, inputs | {'param.' + key: np.ascontiguousarray(value, np.float32) for key, value in p.items()})

def expect_same(one, other, limit, without=()):
    """Losses and gradients of the first step that both have, those of `without` aside; limit 0: to the bit."""
    a, b = ({name: value[:1] if name.startswith('loss.') else value for name, value in load_safetensors(path).items()}
            for path in (one, other))
    shared = [name for name in a if name in b and name.split('.')[0] in ('loss', 'grad') and not name.endswith(tuple(without))]
    assert len(shared) > 10, shared
    scale = max(np.abs(a[name]).max() for name in shared if name.startswith('grad.'))
    for name in shared:
        error = np.abs(a[name] - b[name]).max() / max(np.abs(a[name]).max(), 1e-3 * scale)
        assert a[name].shape == b[name].shape and error <= limit, f'{name}: {error:.1e} apart, limit {limit:.1e}'
    print(f'ok: {len(shared)} tensors within {limit:g}')

if sys.argv[2] == 'edit':
    edit(*sys.argv[3:6])
else:
    expect_same(sys.argv[3], sys.argv[4], float(sys.argv[5]), sys.argv[6:])
END
edit() { /usr/bin/python3 "$work/cases.py" "$here" edit "$@"; }
same() { /usr/bin/python3 "$work/cases.py" "$here" same "$work/$1.results" "$work/$2.results" "${@:3}"; }
declare_model() { # NAME FAMILY PLACEMENTS
  cat >"$work/$1.mlir" <<END
mega.model @case hidden 32 vocab 64 sequence 24 {
  mega.pattern "A" depth 2
  mega.family "A" = $2
  $3
}
mega.train @step of @case {
  micro_batch = 2, documents = true, accumulate = 1, precision = fp32, seed = 3,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 0.0
}
END
}
make() { # NAME: a case of its declaration
  /usr/bin/python3 - "$here" "$work/$1.mlir" "$work/$1.safetensors" <<'END'
import pathlib, sys
sys.path[:0] = [sys.argv[1] + '/reference', sys.argv[1]]
import make_golden
make_golden.DOCUMENTS['case'] = [[9, 1, 14], [24]]
make_golden.save_safetensors(sys.argv[3], make_golden.make_case(pathlib.Path(sys.argv[2])))
END
}

echo 'nope<> is rope = 0'
declare_model turned 'attention<heads = 4, kv_heads = 2, head_dim = 8, rope = 6>' 'mega.place nope<> on "A" ranks [0, 1]'
declare_model still 'attention<heads = 4, kv_heads = 2, head_dim = 8, rope = 0>' ''
make turned; cp "$work/turned.safetensors" "$work/still.safetensors"
run turned; run still; same turned still 0

echo 'gates of zero halve out_proj'
for gate in head channel; do
  declare_model gated_$gate "mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6, gate = $gate>" ''
  make gated_$gate
done
declare_model plain 'mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>' ''
cp "$work/gated_head.safetensors" "$work/first"
edit "$work/first" "$work/plain.safetensors" 'for k in [k for k in p if "gate_proj" in k]: del p[k]
for k in p: p[k] = p[k] / 2 if "out_proj" in k else p[k]'
rm "$work/gated_head.safetensors"
edit "$work/first" "$work/gated_head.safetensors" 'for k in p: p[k] = 0 * p[k] if "gate_proj" in k else p[k]'
run gated_head; run plain; same gated_head plain 2e-6 out_proj.weight

echo 'a gate a channel with equal rows is a gate a head'
rm "$work"/gated_*.safetensors
cp "$work/first" "$work/gated_head.safetensors"
edit "$work/first" "$work/gated_channel.safetensors" 'for k in p: p[k] = np.repeat(p[k], 6, 0) if "gate_proj" in k else p[k]'
run gated_head; run gated_channel
/usr/bin/python3 - "$here" "$work" <<'END'
import sys
sys.path[:0] = [sys.argv[1]]
import numpy as np
from compare import load_safetensors
head, channel = (load_safetensors(f'{sys.argv[2]}/gated_{gate}.results') for gate in ('head', 'channel'))
for name in head:
    if name.split('.')[0] in ('loss', 'grad'):
        first = name.startswith('loss.')
        a, b = (value.ravel()[:1] if first else value for value in (head[name], channel[name]))
        if 'gate_proj' in name:
            b = b.reshape(4, 6, -1).sum(1)
        assert np.abs(a - b).max() <= 2e-6 * max(np.abs(a).max(), 1e-3), name
END

echo 'a bias of zero is none'
declare_model biased 'mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>' \
  'mega.place relation_bias<relations = 9, chunks = 5> on "A" ranks [0, 1]'
make biased; mv "$work/biased.safetensors" "$work/first"
edit "$work/first" "$work/biased.safetensors" 'for k in p: p[k] = 0 * p[k] if "relation_bias" in k else p[k]'
rm -f "$work/plain.safetensors"
/usr/bin/python3 - "$here" "$work" <<'END'
import sys
sys.path[:0] = [sys.argv[1] + '/reference', sys.argv[1]]
from make_golden import save_safetensors
from compare import load_safetensors
case = load_safetensors(sys.argv[2] + '/biased.safetensors')
save_safetensors(sys.argv[2] + '/plain.safetensors', {name: value for name, value in case.items() if 'relation' not in name})
END
run biased; run plain
/usr/bin/python3 - "$here" "$work" <<'END'
import sys
sys.path[:0] = [sys.argv[1]]
import numpy as np
from compare import load_safetensors
biased, plain = (load_safetensors(f'{sys.argv[2]}/{name}.results') for name in ('biased', 'plain'))
same = [name for name in plain if name.startswith('grad.')]
assert all(np.array_equal(biased[name], plain[name]) for name in same) and len(same) > 10
assert all(np.abs(biased[f'grad.blocks.{block}.relation_bias.weight']).max() > 0 for block in (0, 1))
assert biased['loss.main'][0] == plain['loss.main'][0]
END

echo 'an open state gate is none, a shut one a document a token'
mamba='mamba3<expand = 1, head_dim = 8, state = 8, groups = 2, rank = 2, chunk = 8'
declare_model open "$mamba, state_gate = true>" ''
declare_model none "$mamba>" ''
make open; mv "$work/open.safetensors" "$work/first"
# set_gate NAME BIAS: the first case with this bias of every state gate, and weights of 0.
set_gate() {
  edit "$work/first" "$work/$1.safetensors" \
    "for k in p: p[k] = $2 + 0 * p[k] if k.endswith('state_gate.bias') else 0 * p[k] if 'state_gate' in k else p[k]"
}
set_gate open 60
edit "$work/first" "$work/none.safetensors" 'for k in [k for k in p if "state_gate" in k]: del p[k]'
run open; run none; same open none 0
cp "$work/open.mlir" "$work/shut.mlir"; cp "$work/none.mlir" "$work/apart.mlir"
set_gate shut -800
/usr/bin/python3 - "$here" "$work" <<'END'
import sys
sys.path[:0] = [sys.argv[1] + '/reference', sys.argv[1]]
import numpy as np
from make_golden import save_safetensors
from compare import load_safetensors
case = {name: value.copy() for name, value in load_safetensors(sys.argv[2] + '/none.safetensors').items()}
case['input.documents'][:] = np.arange(case['input.documents'].shape[-1])
save_safetensors(sys.argv[2] + '/apart.safetensors', case)
END
run shut; run apart; same shut apart 2e-5
echo 'all are the same'
