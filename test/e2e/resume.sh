#!/usr/bin/env bash
# resume.sh BIN MODEL: a run that is interrupted at random moments, by SIGINT, SIGTERM or kill -9, ends with the bits of one that is not.
set -euo pipefail
bin=$1 model=$2 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$bin/megacc" "$here/../../models/$model.mlir" -o "$work/step.so" --micro-batch 1
command=("$bin/megacc-run" "$work/step.so" --data "$here" "$here/../../models" --steps 24 --checkpoint-every 4)
run() { "${command[@]}" "$@" >"$work/log" 2>&1 || { echo "exit status $?"; cat "$work/log"; exit 1; }; }
begun=$(date +%s%N)
run --out "$work/whole"
span=$((($(date +%s%N) - begun) / 1000000)) # ms

# interrupted SIGNAL NUMBER: a run stopped by the signal, then resumed. INT and TERM are sent to a run that trains, KILL at any moment.
interrupted() {
  local folder=$work/$1-$2 status=0
  "${command[@]}" --out "$folder" >"$work/log" 2>&1 & # no function: the signal must reach the program itself
  local child=$!
  until [ $1 = KILL ] || [ -s "$folder/metrics.jsonl" ]; do sleep 0.01; done
  sleep "$(awk -v span="$span" -v seed="$2$RANDOM" 'BEGIN { srand(seed); printf "%.3f", 0.8 * span * rand() / 1000 }')"
  kill -s "$1" $child 2>/dev/null || true
  { wait $child || status=$?; } 2>/dev/null
  case $1:$status in
    *:0) ;; # it was over
    INT:130 | TERM:143 | KILL:137) count=$((count + 1)) ;;
    *) echo "$1 $2: exit status $status"; cat "$work/log"; exit 1 ;;
  esac
  if [ -e "$folder/checkpoint.safetensors" ]; then run --resume "$folder"; else rm -rf "$folder"; run --out "$folder"; fi
  cmp "$work/whole/checkpoint.safetensors" "$folder/checkpoint.safetensors"
  [ "$(grep -c '"grad_norm"' "$folder/metrics.jsonl")" = 24 ] || { echo "$1 $2: metrics.jsonl has not one line per step"; exit 1; }
}
for round in "INT 10" "KILL 10" "TERM 2"; do
  set -- $round
  count=0
  for ((number = 1; count < $2; ++number)); do
    [ $number -le 40 ] || { echo "$1: only $count of $number runs were stopped on their way"; exit 1; }
    interrupted $1 $number
  done
  echo "$1: $count runs were stopped on their way and end with the bits of the uninterrupted one"
done
