#!/usr/bin/env bash
# 300 steps of dense-tiny on the C++ headers fall under 1.95 nats per byte held out; launches match the receipt.
set -euo pipefail
bin=$1 models=$(dirname "$0")/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/step.so"
"$bin/megacc-run" "$work/step.so" --data "$(ls -d /usr/include/c++/* | sort -V | tail -n 1)" --steps 300 \
  --out "$work/out" --verify 2>/dev/null | tee "$work/log"
held_out=$(grep -oiE 'held-out[^0-9]*[0-9.]+' "$work/log" | grep -oE '[0-9]+\.[0-9]+' | tail -n 1)
awk -v loss="$held_out" 'BEGIN { exit !(loss != "" && loss < 1.95) }' || { echo "held-out loss '$held_out' is not under 1.95"; exit 1; }
grep -qxF "draw it: tools/plot $work/out" "$work/log" || { echo "no line names tools/plot"; exit 1; }
