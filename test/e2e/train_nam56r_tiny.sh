#!/usr/bin/env bash
# README's first command: its 120 steps of nam56r-tiny on the C++ headers fall under 1.8 nats per byte held out.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$root/out"; rm -rf "$root/out/nam56r-tiny"
"$root/tools/quickstart.sh" | tee "$root/out/quickstart.log"
held_out=$(grep -oE 'held-out loss [0-9.]+' "$root/out/quickstart.log" | grep -oE '[0-9.]+$')
awk -v loss="$held_out" 'BEGIN { exit !(loss != "" && loss < 1.8) }' || { echo "held-out loss '$held_out' is not under 1.8"; exit 1; }
