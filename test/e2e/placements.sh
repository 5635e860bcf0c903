#!/usr/bin/env bash
# placements.sh BIN: with placements on, a run has the same bits at any number of threads, resumed, with everything or some of it computed
# again, and with its blocks measured; every launch is as the receipt says.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd); model=$here/placements.mlir
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
train() { "$bin/megacc-run" "$work/$1.so" --data "$here" --out "$work/run-$2" "${@:3}" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }
same() { cmp "$work/run-$1/checkpoint.safetensors" "$work/run-$2/checkpoint.safetensors"; }

"$bin/megacc" "$model" -o "$work/step.so"
"$bin/megacc" "$model" -o "$work/again.so"
cmp "$work/step.so" "$work/again.so"
train step one --steps 6 --threads 1 --verify
train step three --steps 6 --threads 3
same one three
train step half --steps 3
train step resumed --steps 6 --resume "$work/run-half"
same one resumed

"$bin/megacc" "$model" -o "$work/full.so" --recompute=full
train full full --steps 6 --verify
same one full
plan() { "$bin/megacc" "$model" --emit=plan --recompute="$1" | sed -n 's/,//g; s/^  temporaries: \([0-9]*\) bytes.*/\1/p'; }
[ "$(plan full)" -lt "$(plan none)" ] || { echo "everything computed again takes $(plan full) bytes, nothing $(plan none)"; exit 1; }

total() { "$bin/megacc" "$model" --memory="$1" --emit=plan | sed -n 's/^  memory = [0-9]* bytes: \([0-9]*\) bytes.*/\1/p'; }
budget=2250000
[ "$(total ${budget}B)" -le $budget ] || { echo "$(total ${budget}B) bytes for a budget of $budget"; exit 1; }
"$bin/megacc" "$model" -o "$work/budget.so" --memory=${budget}B
train budget budget --steps 6 --verify
same one budget

"$bin/megacc" "$model" -o "$work/logged.so" --log-blocks
train logged logged --steps 6 --log-every 2 --verify
same one logged
python3 - "$work/run-logged/metrics.jsonl" <<'CHECK'
import json, math, sys
entries = [json.loads(line) for line in open(sys.argv[1])]
steps = {entry['step']: entry for entry in entries if 'loss' in entry}
assert [step for step in sorted(steps) if 'block_norm' in steps[step]] == [2, 4, 6], steps
for step in (2, 4, 6):
    for name in ('block_norm', 'gradient_block_norm'):
        values = steps[step][name]
        assert len(values) == 10 and all(math.isfinite(value) and value > 0 for value in values), (name, values)
    for name, letters in ('attention_entropy', 'A'), ('state_norm', 'MR'):
        values = steps[step][name] # a number for the blocks of these letters, null for others
        assert [value is not None and value > 0 for value in values] == [letter in letters for letter in 'AEMERAEMER'], (name, values)
CHECK
! "$bin/megacc-run" "$work/step.so" --data "$here" --out "$work/none" --steps 1 --log-every 1 2>"$work/log"
grep -q 'the step measures no blocks; fix: compile it with --log-blocks' "$work/log"
