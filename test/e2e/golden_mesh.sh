#!/usr/bin/env bash
# golden_mesh.sh BIN CASE MESH...: losses, gradients and parameters after one and three steps on meshes, against the float64 reference; the
# same bits twice. A mesh that ends in "+sequence" shares the tokens over tp.
set -u
bin=$1 case=$2 here=$(cd "$(dirname "$0")" && pwd); shift 2
command -v mpirun >/dev/null || { echo "skipped: there is no mpirun"; exit 77; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
status=0
for mesh in "$@"; do
  ranks=1 flags=()
  [ "$mesh" = "${mesh%+sequence}" ] || flags=(--sequence-parallel)
  for axis in $(tr , ' ' <<<"${mesh%+sequence}"); do [ "${axis%=*}" = zero ] || ranks=$((ranks * ${axis#*=})); done
  run() {
    mpirun -n $ranks --oversubscribe --allow-run-as-root "$bin/megacc-run" "$work/step.so" --threads 1 \
      --case "$here/goldens/$case.safetensors" --dump "$work/$1.safetensors"
  }
  echo "$case, $mesh:"
  "$bin/megacc" "$here/goldens/$case.mlir" --mesh "${mesh%+sequence}" "${flags[@]}" -o "$work/step.so" && run mine &&
    /usr/bin/python3 "$here/compare.py" "$here/goldens/$case.safetensors" "$work/mine.safetensors" &&
    run again && cmp "$work/mine.safetensors" "$work/again.safetensors" || status=1
done
exit $status
