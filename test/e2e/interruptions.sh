#!/usr/bin/env bash
# interruptions.sh BIN MODEL STOPS: runs, fresh and resumed, that are stopped so many times at random moments by signals, kill -9, a full
# disk or data cut short end with the bits of one that was never stopped, and never leave a checkpoint that cannot be read.
set -euo pipefail
bin=$1 model=$2 stops=$3 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$bin/megacc" "$here/../../models/$model.mlir" -o "$work/step.so" --micro-batch 1
# Tokens of uint16, which are read as the run goes.
cat "$here"/*.sh "$here"/*.cpp "$here"/../../README.md |
  python3 -c 'import array, sys; sys.stdout.buffer.write(array.array("H", list(sys.stdin.buffer.read())))' >"$work/data.whole"
cp "$work/data.whole" "$work/data.bin"
command=("$bin/megacc-run" "$work/step.so" --data "$work/data.bin" --token-type uint16 --steps 24 --checkpoint-every 4)
begun=$(date +%s%N)
"${command[@]}" --out "$work/whole" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
span=$((($(date +%s%N) - begun) / 1000000)) # ms
blocks=$(($(stat -c %s "$work/whole/checkpoint.safetensors") / 1024))

# moment: a part of a run, in seconds.
moment() { awk -v span="$span" -v seed="$RANDOM" 'BEGIN { srand(seed); printf "%.3f", 0.9 * span * rand() / 1000 }'; }

# attempt HOW FOLDER: starts a run or goes on with it, and stops it; the exit status is in $status.
attempt() {
  local how=$1 folder=$2 child where=()
  if [ -e "$folder/checkpoint.safetensors" ]; then where=(--resume "$folder"); else rm -rf "$folder"; where=(--out "$folder"); fi
  status=0
  if [ "$how" = disk ]; then
    (trap '' XFSZ; ulimit -f $((RANDOM % blocks + 1)); exec "${command[@]}" "${where[@]}") >"$work/log" 2>&1 || status=$?
    return
  fi
  "${command[@]}" "${where[@]}" >"$work/log" 2>&1 & # no function: the signal must reach the program itself
  child=$!
  case $how in INT | TERM | HUP) # are caught once a run trains
    until grep -q "tokens to train on" "$work/log" || ! kill -0 $child 2>/dev/null; do sleep 0.01; done; sleep 0.05 ;;
  esac
  sleep "$(moment)"
  if [ "$how" = data ]; then truncate -s $((RANDOM % 1000)) "$work/data.bin"; else kill -s "$how" $child 2>/dev/null || true; fi
  { wait $child || status=$?; } 2>/dev/null
  if [ "$how" = data ]; then cat "$work/data.whole" >"$work/data.bin"; fi
}

declare -A expected=([INT]=130 [TERM]=143 [HUP]=129 [KILL]=137 [disk]=1 [data]=1) counts=()
order=(KILL INT disk KILL data TERM KILL disk HUP KILL INT data)
count=0 tried=0
for ((number = 1; count < stops; ++number)); do
  folder=$work/run-$number
  for ((time = 0; time <= number % 3; ++time)); do
    [ $tried -lt $((4 * stops)) ] || { echo "only $count of $tried runs were stopped on their way"; exit 1; }
    how=${order[$((tried % ${#order[@]}))]}
    tried=$((tried + 1))
    attempt $how "$folder"
    [ $status != 0 ] || break # it was over
    [ $status = ${expected[$how]} ] || { echo "$how, run $number: exit status $status"; cat "$work/log"; exit 1; }
    count=$((count + 1)) counts[$how]=$((${counts[$how]:-0} + 1))
  done
  if [ -e "$folder/checkpoint.safetensors" ]; then where=(--resume "$folder"); else rm -rf "$folder"; where=(--out "$folder"); fi
  "${command[@]}" "${where[@]}" >"$work/log" 2>&1 || { echo "after $how, run $number: exit status $?"; cat "$work/log"; exit 1; }
  cmp "$work/whole/checkpoint.safetensors" "$folder/checkpoint.safetensors"
  [ "$(grep -c '"grad_norm"' "$folder/metrics.jsonl")" = 24 ] ||
    { echo "$how, run $number: metrics.jsonl has not one line per step"; exit 1; }
  rm -r "$folder"
done
for how in "${!counts[@]}"; do echo "$how: ${counts[$how]} times"; done
echo "$count stops of $tried tries, $((number - 1)) runs end with the bits of the one that was not stopped"
