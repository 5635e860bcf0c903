#!/usr/bin/env bash
# measures.sh BIN CASE [MESH] [FLAG...]: what a step compiled with --log-blocks measures of its blocks, against the float64 reference; over
# a mesh such as tp=2 the same. The flags go to megacc.
set -euo pipefail
bin=$1 case=$2 here=$(dirname "$0"); shift 2
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
run=("$bin/megacc-run")
if [[ ${1-} =~ ^[a-z]+=([0-9]+)$ ]]; then
  command -v mpirun >/dev/null || { echo "skipped: there is no mpirun"; exit 77; }
  run=(mpirun -n "${BASH_REMATCH[1]}" --oversubscribe --allow-run-as-root "$bin/megacc-run" --threads 1)
  set -- --mesh "$@"
fi
"$bin/megacc" "$here/goldens/$case.mlir" -o "$work/step.so" --log-blocks "$@"
"${run[@]}" "$work/step.so" --case "$here/goldens/$case.safetensors" --dump "$work/mine.safetensors"
/usr/bin/python3 "$here/reference/check_measures.py" "$here/goldens/$case" "$work/mine.safetensors"
