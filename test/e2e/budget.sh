#!/usr/bin/env bash
# budget.sh BIN: a step fits the budget that it is given or says what it needs, a bigger budget is never slower, and no plan changes a bit.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# check MODEL: at ten budgets from the smallest to all that is kept.
check() {
  local model=$here/../../models/$1.mlir part budget bytes milliseconds before=1e9 least all
  "$bin/megacc" "$model" --micro-batch 1 --memory=1MiB -o "$work/step.so" 2>"$work/log" && { echo "$1: 1MiB was enough"; exit 1; }
  [ ! -e "$work/step.so" ]
  least=$(sed -n 's/.*the step needs \([0-9]*\) bytes (\([0-9]*\) where.*/\1/p' "$work/log")
  all=$(sed -n 's/.*the step needs \([0-9]*\) bytes (\([0-9]*\) where.*/\2/p' "$work/log")
  [ "$least" -lt "$all" ] || { cat "$work/log"; exit 1; }
  "$bin/megacc" "$model" --micro-batch 1 --emit=plan --json -o "$work/plan.json"
  grep -q "^ \"minimum_bytes\": $least,$" "$work/plan.json" ||
    { echo "$1: another minimum"; exit 1; }
  for part in 0 1 2 3 4 5 6 7 8 9 10; do
    budget=$((least + (all - least) * part / 10))
    "$bin/megacc" "$model" --micro-batch 1 --memory=${budget}B --emit=plan >"$work/plan"
    bytes=$(sed -n 's/^  memory = [0-9]* bytes: \([0-9]*\) bytes.*/\1/p' "$work/plan")
    milliseconds=$(sed -n 's/.*takes about \([0-9.]*\) ms.*/\1/p' "$work/plan")
    [ "$bytes" -le $budget ] || { echo "$1: $bytes bytes for a budget of $budget"; exit 1; }
    awk -v now="${milliseconds:-0}" -v before="$before" 'BEGIN { exit now > before }' ||
      { echo "$1: $milliseconds ms at $budget bytes, $before with less"; exit 1; }
    before=${milliseconds:-0}
    echo "$1 $budget: $bytes bytes, ${milliseconds:-0} ms again"
    case $part in 0 | 2 | 4 | 6 | 8 | 10) ;; *) continue ;; esac
    "$bin/megacc" "$model" --micro-batch 1 --memory=${budget}B -o "$work/step.so"
    "$bin/megacc-run" "$work/step.so" --data "$here" "$here/../../models" --steps 2 --verify --out "$work/runs/$part" >"$work/log" 2>&1 ||
      { cat "$work/log"; exit 1; }
    cmp "$work/runs/0/checkpoint.safetensors" "$work/runs/$part/checkpoint.safetensors"
  done
  [ -z "$milliseconds" ] || { echo "$1: computes again where everything fits"; exit 1; }
  rm -r "$work/runs" "$work/step.so"
}
check dense-tiny
check nam56r-tiny
