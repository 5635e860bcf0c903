#!/usr/bin/env bash
# The same declaration gives the same bytes, also from another folder; training gives the same bits twice and at 1 and 2 threads.
set -euo pipefail
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/other"; cp "$models/dense-tiny.mlir" "$work/other/"
"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/a.so"
(cd "$work/other" && "$bin/megacc" dense-tiny.mlir -o b.so)
cmp "$work/a.so" "$work/other/b.so"
for run in "1 one" "2 two" "2 again"; do
  set -- $run
  "$bin/megacc-run" "$work/a.so" --data "$here/../../models" "$here/goldens" --steps 3 --out "$work/$2" --threads "$1" >/dev/null 2>&1
done
cmp "$work/one/checkpoint.safetensors" "$work/two/checkpoint.safetensors"
cmp "$work/two/checkpoint.safetensors" "$work/again/checkpoint.safetensors"
