#!/usr/bin/env bash
# golden.sh BIN CASE [FLAG...]: losses, gradients and parameters after one and three steps against the float64 reference, with the widest
# kernels of this processor and with those every processor has; residual stream and initial values too. The flags go to megacc.
set -euo pipefail
bin=$1 case=$2 here=$(dirname "$0"); shift 2
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python=/usr/bin/python3
"$bin/megacc" "$here/goldens/$case.mlir" -o "$work/step.so" "$@"
"$bin/megacc-run" "$work/step.so" --case "$here/goldens/$case.safetensors" --dump "$work/mine.safetensors"
$python "$here/compare.py" "$here/goldens/$case.safetensors" "$work/mine.safetensors"
MEGACC_CPU=x86-64-v3 "$bin/megacc-run" "$work/step.so" --case "$here/goldens/$case.safetensors" --dump "$work/narrow.safetensors"
$python "$here/compare.py" "$here/goldens/$case.safetensors" "$work/narrow.safetensors"
"$bin/megacc" "$here/goldens/$case.mlir" -o "$work/taps.so" --taps=hidden "$@"
"$bin/megacc-run" "$work/taps.so" --case "$here/goldens/$case.safetensors" --dump "$work/taps.safetensors"
$python "$here/compare.py" "$here/goldens/$case.safetensors" "$work/taps.safetensors" | tee "$work/table"
grep -q '^hidden .*ok' "$work/table"
"$bin/megacc-run" "$work/step.so" --print-initial "$work/initial.safetensors"
$python "$here/compare.py" "$here/goldens/$case.safetensors" "$work/initial.safetensors" --partial
