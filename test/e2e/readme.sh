#!/usr/bin/env bash
# readme.sh BIN: every command of README's tour works, in its order, in a folder that has `build` and `models`.
set -euo pipefail
bin=$1 root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/build"; ln -s "$bin" "$work/build/bin"; ln -s "$root/models" "$work/models"
grep -E '^    build/bin/' "$root/README.md" >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 10 ] || { echo "README has only $(wc -l <"$work/commands") commands"; exit 1; }
cd "$work"
while IFS= read -r line; do
  echo "\$ ${line#    }"
  bash -euc "$line" >log 2>&1 && continue
  # What needs a card says so where there is none.
  grep -qE 'there is no (NVIDIA driver|card)|libmegacc_cuda.so' log || { cat log; exit 1; }
  echo "skipped: $(cat log)"
done <commands
for file in nam56r-tiny.so run/checkpoint.safetensors run/metrics.jsonl profiled/trace.json dumps; do
  [ -e $file ] || { echo "$file is missing"; exit 1; }
done
