#!/usr/bin/env bash
# recompute.sh BIN: whatever the backward computes again, losses and parameters have the same bits, in less memory.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# temporaries MODEL WHAT: bytes of the plan.
temporaries() { "$bin/megacc" "$1" --emit=plan --micro-batch 1 --recompute="$2" |
  sed -n 's/,//g; s/^  temporaries: \([0-9]*\) bytes.*/\1/p'; }
# check MODEL WHAT...: against a step that keeps all.
check() {
  local model=$1 all what bytes
  shift
  all=$(temporaries "$model" none)
  for what in none "$@"; do
    "$bin/megacc" "$model" --micro-batch 1 --recompute="$what" -o "$work/step.so"
    "$bin/megacc-run" "$work/step.so" --data "$here" "$here/../../models" --steps 2 --verify --out "$work/runs/$what" >"$work/log" 2>&1 ||
      { cat "$work/log"; exit 1; }
    cmp "$work/runs/none/checkpoint.safetensors" "$work/runs/$what/checkpoint.safetensors"
    bytes=$(temporaries "$model" "$what")
    [ "$what" = none ] || [ "$bytes" -lt "$all" ] || { echo "$what: $bytes bytes of temporaries, $all where all is kept"; exit 1; }
    echo "$(basename "$model") $what: $bytes bytes of temporaries"
  done
  rm -r "$work/runs"
}
cd "$work" # names of the folders have no slashes
check "$here/../../models/dense-tiny.mlir" full "F:mixer*activation"
check "$here/../dialects/mega/examples/dsa.mlir" full "A:mixer*"
check "$here/../dialects/mega/examples/gated_deltanet.mlir" full "D:mixer*"
check "$here/../../models/nam56r-tiny.mlir" full "M:*,R:*" "E:mixer*experts.up,E:mixer*activation" "A:norm,M:norm,E:norm"
