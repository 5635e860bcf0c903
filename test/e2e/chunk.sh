#!/usr/bin/env bash
# chunk.sh BIN: the declared chunk of a Mamba-3 or a Gated DeltaNet block changes no result: a golden step passes with any.
set -euo pipefail
bin=$1 here=$(dirname "$0")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# check CASE CHUNK...
check() {
  local golden=$here/goldens/$1 chunk
  for chunk in "${@:2}"; do
    sed "s/chunk = 16/chunk = $chunk/" "$golden.mlir" >"$work/$chunk.mlir"
    "$bin/megacc" "$work/$chunk.mlir" -o "$work/$chunk.so"
    "$bin/megacc-run" "$work/$chunk.so" --case "$golden.safetensors" --dump "$work/$chunk.safetensors"
    /usr/bin/python3 "$here/compare.py" "$golden.safetensors" "$work/$chunk.safetensors"
  done
}
check mamba3_siso 8 16 32 64
check gdn 16 32 64 128
