#!/usr/bin/env bash
# costs.sh BIN: measured times of a step's launches make its plan and choose what is computed again; files that do not fit are refused.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
model=$here/../../models/dense-tiny.mlir
fail() { echo "$1"; cat "$work/log"; exit 1; }
plan() { "$bin/megacc" "$model" --emit=plan "$@" >"$work/log" 2>&1; }

"$bin/megacc" "$model" -o "$work/step.so"
"$bin/megacc-run" "$work/step.so" --data "$here" --calibrate "$work/costs.json" >"$work/log" 2>&1 || fail "calibration failed"
plan && grep -q "a step takes at least [0-9.]* ms on one cpu, by FLOPs and bytes" "$work/log" || fail "no estimate"
plan --costs "$work/costs.json" || fail "the costs were not taken"
# What the plan says is the sum of what was measured.
python3 - "$work/costs.json" "$work/log" <<'PYTHON' || fail "another sum"
import json, re, sys
costs = json.load(open(sys.argv[1]))
planned = float(re.search(r'a step takes ([0-9.]+) ms on cpu .*, as its kernels were measured', open(sys.argv[2]).read())[1])
slowest = {}
for cost in costs['costs']:
    key = cost['kernel'], str(cost['ints'])
    slowest[key] = max(slowest.get(key, 0), cost['milliseconds'])
total = sum(cost['launches'] * slowest[cost['kernel'], str(cost['ints'])] for cost in costs['costs'])
assert abs(planned - total) < 1e-3 * total + 0.01, (planned, total)
PYTHON
# Measured figures stand beside those of FLOPs and bytes.
plan --json && mv "$work/log" "$work/estimated.json" && plan --json --costs "$work/costs.json" || fail "no JSON"
python3 - "$work/costs.json" "$work/log" "$work/estimated.json" <<'PYTHON' || fail "measured and estimated are not side by side"
import json, sys
costs, measured, estimated = (json.load(open(path)) for path in sys.argv[1:])
assert measured['times']['measured'] and not estimated['times']['measured'] and estimated['times']['measured_step_ms'] is None
assert measured['times']['measured_step_ms'] == costs['step_milliseconds'] and measured['times']['machine'] == costs['machine']
for value in measured['times']['estimated_step_ms'], estimated['times']['estimated_step_ms']:
    assert abs(value - estimated['step_ms']) < 1e-9 * value, (value, estimated['step_ms'])
for row, other in zip(measured['families'] + measured['blocks'], estimated['families'] + estimated['blocks'], strict=True):
    assert abs(row['ms']['estimated'] - other['ms']['total']) < 1e-9, (row, other)
times = {}
for cost in costs['costs']:
    key = cost['kernel'], str(cost['ints'])
    times[key] = max(times.get(key, 0), cost['milliseconds'])
for kernel in measured['kernels']:
    own = [cost for cost in costs['costs'] if cost['kernel'][3:] == kernel['kernel']]
    total = sum(cost['launches'] * times[cost['kernel'], str(cost['ints'])] for cost in own)
    assert abs(kernel['ms'] - total) < 1e-9 * max(1, total), kernel
PYTHON
plan --costs "$work/costs.json" --pareto && grep -A3 "computing again$" "$work/log" | tail -1 | grep -q "%" || fail "no table of budgets"
# A smaller budget is met by the same launches, measured: no time is missing.
"$bin/megacc" "$model" --costs "$work/costs.json" --memory=70MiB -o "$work/small.so" >"$work/log" 2>&1 || fail "no plan for a small budget"

refuse() { # WHAT TEXT COMMAND...
  local what=$1 text=$2
  shift 2
  if "$@" >"$work/log" 2>&1; then fail "$what was taken"; fi
  grep -q "$text" "$work/log" || fail "$what: another message"
}
other=("$bin/megacc" "$model" --micro-batch 3 -o "$work/none.so")
refuse "costs of another step" "has no time of [0-9]* launches of this step (mg_.*); fix: megacc-run --calibrate with this step" \
  "${other[@]}" --costs "$work/costs.json"
"${other[@]}" --costs "$work/costs.json" --allow-missing-costs || fail "--allow-missing-costs changes nothing"
rm "$work/none.so"
sed 's/"target": "cpu"/"target": "sm_90a"/' "$work/costs.json" >"$work/card.json"
refuse "costs of a card" "was measured on target sm_90a, the step is for cpu" "${other[@]}" --costs "$work/card.json"
refuse "a declaration as costs" "is not a file that megacc-run --calibrate wrote" "${other[@]}" --costs "$model"
refuse "costs that are not there" "cannot be read: No such file" "${other[@]}" --costs "$work/nothing.json"
[ ! -e "$work/none.so" ] || fail "a refused step was written"
