#!/usr/bin/env bash
# The same declaration gives the same bytes, also from another folder; training gives the same bits twice and at 1, 2 and 3 threads.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/other"
for file in "$models/dense-tiny.mlir" "$here/../dialects/mega/examples/dsa.mlir" "$here/../dialects/mega/examples/gated_deltanet.mlir" \
  "$models/nam56r-tiny.mlir"; do
  model=$(basename "$file" .mlir)
  cp "$file" "$work/other/"
  "$bin/megacc" "$file" -o "$work/$model.so"
  (cd "$work/other" && "$bin/megacc" $model.mlir)
  cmp "$work/$model.so" "$work/other/$model.so"
  for run in "1 one" "2 two" "2 again" "3 three"; do
    set -- $run
    "$bin/megacc-run" "$work/$model.so" --data "$models" "$here" --steps 3 --out "$work/$model-$2" --threads "$1" >/dev/null 2>&1
    cmp "$work/$model-one/checkpoint.safetensors" "$work/$model-$2/checkpoint.safetensors"
  done
done
