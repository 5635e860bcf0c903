#!/usr/bin/env bash
# plan_agrees.sh MODELS: parameters and FLOPs of every family and slot, by both ways, for every preset.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for model in "$1"/*.mlir; do
  name=$(basename "$model" .mlir)
  sed 's/clip = 1\.0/clip = 1.0, mesh = <dp = 1009>/' "$model" >"$work/$name.mlir"
  megacc "$model" --emit=plan --details >"$work/launches"
  megacc "$work/$name.mlir" --emit=plan >"$work/tables"
  grep -q 'kernels of a micro-batch' "$work/launches"
  grep -q 'not planned: micro_batch = [0-9]* rows cannot be shared by dp \* ep = 1009 ranks' "$work/tables"
  for file in launches tables; do
    grep -E '^model|^  [a-z0-9]+ +([0-9]+|-) +[0-9,]+ ' "$work/$file" | cut -c1-76 >"$work/$file.rows"
    # A line per slot: what is alike is one row of the plan.
    sed -nE 's/^ +[0-9]+ +([A-Z] .{66}).*; slots? ([0-9, ]+)$/\2|\1/p' "$work/$file" |
      awk -F'|' '{ n = split($1, slots, ", "); for (i = 1; i <= n; ++i) print slots[i], $2 }' | sort -n >>"$work/$file.rows"
  done
  [ "$(wc -l <"$work/launches.rows")" -gt 12 ]
  diff -b "$work/launches.rows" "$work/tables.rows" || { echo "$name: the two plans differ"; exit 1; }
done
