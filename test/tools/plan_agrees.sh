#!/usr/bin/env bash
# plan_agrees.sh MODELS: parameters and FLOPs of every family and slot, by both ways, for every preset.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for model in "$1"/*.mlir; do
  name=$(basename "$model" .mlir)
  sed 's/clip = 1\.0/clip = 1.0, recompute = full/' "$model" >"$work/$name.mlir"
  megacc "$model" --emit=plan >"$work/launches"
  megacc "$work/$name.mlir" --emit=plan >"$work/tables"
  grep -q 'kernels of a micro-batch' "$work/launches"
  grep -q 'not planned: recompute = full is not supported yet' "$work/tables"
  for file in launches tables; do
    grep -E '^model|^  [a-z0-9]+ +([0-9]+|-) +[0-9,]+ |^ *[0-9]+ +[A-Z] ' "$work/$file" | cut -c1-78 >"$work/$file.rows"
  done
  [ "$(wc -l <"$work/launches.rows")" -gt 12 ]
  diff -b "$work/launches.rows" "$work/tables.rows" || { echo "$name: the two plans differ"; exit 1; }
done
