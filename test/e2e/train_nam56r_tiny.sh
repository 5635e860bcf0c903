#!/usr/bin/env bash
# README's first command: its 120 steps of nam56r-tiny on the C++ headers take at most 5 minutes and fall under 1.8 nats a byte held out.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$root/out"; rm -rf "$root/out/nam56r-tiny"
"$root/tools/quickstart.sh" | tee "$root/out/quickstart.log"
held_out=$(grep -oE 'held-out loss [0-9.]+' "$root/out/quickstart.log" | grep -oE '[0-9.]+$')
seconds=$(sed -nE 's/^[0-9]+ tokens in (([0-9]+) min )?([0-9]+) s,.*/\2 \3/p' "$root/out/quickstart.log" | awk '{ print NF == 2 ? 60 * $1 + $2 : $1 }')
awk -v loss="$held_out" 'BEGIN { exit !(loss != "" && loss < 1.8) }' || { echo "held-out loss '$held_out' is not under 1.8"; exit 1; }
awk -v seconds="$seconds" 'BEGIN { exit !(seconds != "" && seconds <= 300) }' || { echo "training took '$seconds' s, more than 300"; exit 1; }
