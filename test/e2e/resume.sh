#!/usr/bin/env bash
# resume.sh BIN MODEL: a run that is interrupted at random moments, by SIGINT, SIGTERM or kill -9, ends with the bits of one that is not.
set -euo pipefail
bin=$1 model=$2 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$bin/megacc" "$here/../../models/$model.mlir" -o "$work/step.so" --micro-batch 1
run() { "$bin/megacc-run" "$work/step.so" --data "$here" "$here/../../models" --steps 24 --checkpoint-every 4 "$@" >"$work/log" 2>&1; }
begun=$(date +%s%N)
run --out "$work/whole"
span=$((($(date +%s%N) - begun) / 1000000)) # ms

# interrupted SIGNAL NUMBER: a run stopped once by the signal, then resumed.
interrupted() {
  local folder=$work/$1-$2 status=0
  run --out "$folder" & local child=$!
  sleep "$(awk -v span="$span" -v seed="$2$RANDOM" 'BEGIN { srand(seed); printf "%.3f", span * rand() / 1000 }')"
  kill -s "$1" $child 2>/dev/null || true
  { wait $child || status=$?; } 2>/dev/null
  case $1:$status in
    *:0 | INT:130 | TERM:143 | KILL:137) ;;
    *) echo "$1 $2: exit status $status"; cat "$work/log"; exit 1 ;;
  esac
  if [ -e "$folder/checkpoint.safetensors" ]; then run --resume "$folder"; else rm -rf "$folder"; run --out "$folder"; fi
  cmp "$work/whole/checkpoint.safetensors" "$folder/checkpoint.safetensors"
  [ "$(grep -c '"grad_norm"' "$folder/metrics.jsonl")" = 24 ] || { echo "$1 $2: metrics.jsonl has not one line a step"; exit 1; }
}
for number in 1 2 3 4 5 6 7 8 9 10; do
  interrupted INT $number
  interrupted KILL $number
done
interrupted TERM 1
echo "21 interrupted runs end with the bits of the uninterrupted one"
