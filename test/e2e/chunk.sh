#!/usr/bin/env bash
# chunk.sh BIN: the declared chunk of a Mamba-3 block changes no result: a golden step passes with any.
set -euo pipefail
bin=$1 here=$(dirname "$0")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for chunk in 8 16 32 64; do
  sed "s/chunk = 16/chunk = $chunk/" "$here/goldens/mamba3_siso.mlir" >"$work/$chunk.mlir"
  "$bin/megacc" "$work/$chunk.mlir" -o "$work/$chunk.so"
  "$bin/megacc-run" "$work/$chunk.so" --case "$here/goldens/mamba3_siso.safetensors" --dump "$work/$chunk.safetensors"
  /usr/bin/python3 "$here/compare.py" "$here/goldens/mamba3_siso.safetensors" "$work/$chunk.safetensors"
done
