#!/usr/bin/env bash
# interruptions.sh BIN MODEL STOPS KIND...: runs, fresh and resumed, that are stopped so many times at random moments, in turn by these
# kinds (signals, KILL, disk: a full one, data: cut short), end with the bits of one that was never stopped, and never leave a checkpoint
# that cannot be read. With `data` they read tokens, which stay on disk, else the bytes of files, of which some are held out.
set -euo pipefail
bin=$1 model=$2 stops=$3 here=$(cd "$(dirname "$0")" && pwd)
kinds=("${@:4}")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$bin/megacc" "$here/../../models/$model.mlir" -o "$work/step.so" --micro-batch 1
mkdir "$work/sources"
cp "$here"/*.sh "$here"/*.cpp "$here"/../../models/*.mlir "$here"/../../README.md "$work/sources"
cat "$work/sources"/* |
  python3 -c 'import array, sys; sys.stdout.buffer.write(array.array("H", list(sys.stdin.buffer.read())))' >"$work/data.whole"
cp "$work/data.whole" "$work/data.bin"
command=("$bin/megacc-run" "$work/step.so" --steps 24 --checkpoint-every 4)
case " ${kinds[*]} " in
  *" data "*) command+=(--data "$work/data.bin" --token-type uint16) ;;
  *) command+=(--data "$work/sources") ;;
esac

# go FOLDER COMMAND...: the command starts the run of the folder, or goes on with it.
go() {
  local folder=$1; shift
  if [ -e "$folder/checkpoint.safetensors" ]; then set -- "$@" --resume "$folder"; else rm -rf "$folder"; set -- "$@" --out "$folder"; fi
  exec "$@"
}
finish() { (go "$@") >"$work/log" 2>&1 || { echo "$1: exit status $?"; cat "$work/log"; exit 1; }; }
lines() { grep -c . "$1/metrics.jsonl" 2>/dev/null || true; }
finish "$work/whole" "${command[@]}"
blocks=$(($(stat -c %s "$work/whole/checkpoint.safetensors") / 1024))

# attempt KIND FOLDER: goes and is stopped; the exit status is in $status. A moment is a number of steps and a part of one: a signal is
# caught when a run trains, KILL comes before that, too.
attempt() {
  local kind=$1 folder=$2 child steps=$((RANDOM % 20))
  status=0
  if [ "$kind" = disk ]; then
    (trap '' XFSZ; ulimit -f $((RANDOM % blocks + 1)); go "$folder" "${command[@]}") >"$work/log" 2>&1 || status=$?
    return
  fi
  [ "$kind" = KILL ] || steps=$((steps + 1))
  [ ! -e "$folder/checkpoint.safetensors" ] || steps=$((steps + $(lines "$folder")))
  go "$folder" "${command[@]}" >"$work/log" 2>&1 &
  child=$!
  until [ "$(lines "$folder")" -ge $steps ] 2>/dev/null || ! kill -0 $child 2>/dev/null; do sleep 0.01; done
  sleep "0.$(printf %03d $((RANDOM % 100)))"
  if [ "$kind" = data ]; then truncate -s $((RANDOM % 1000)) "$work/data.bin"; else kill -s "$kind" $child 2>/dev/null || true; fi
  { wait $child || status=$?; } 2>/dev/null
  if [ "$kind" = data ]; then cat "$work/data.whole" >"$work/data.bin"; fi
}

declare -A expected=([INT]=130 [TERM]=143 [HUP]=129 [KILL]=137 [disk]=1 [data]=1) counts=()
count=0 tried=0
for ((number = 1; count < stops; ++number)); do
  folder=$work/run-$number
  for ((time = 0; time <= number % 3 && count < stops; ++time)); do
    [ $tried -lt $((4 * stops)) ] || { echo "only $count of $tried runs were stopped on their way"; exit 1; }
    kind=${kinds[$((count % ${#kinds[@]}))]} tried=$((tried + 1))
    attempt $kind "$folder"
    [ $status != 0 ] || break # it was over
    [ $status = ${expected[$kind]} ] || { echo "$kind, run $number: exit status $status"; cat "$work/log"; exit 1; }
    count=$((count + 1)) counts[$kind]=$((${counts[$kind]:-0} + 1))
  done
  finish "$folder" "${command[@]}"
  cmp "$work/whole/checkpoint.safetensors" "$folder/checkpoint.safetensors"
  [ "$(grep -c '"grad_norm"' "$folder/metrics.jsonl")" = 24 ] ||
    { echo "$kind, run $number: metrics.jsonl has not one line per step"; exit 1; }
  rm -r "$folder"
done
for kind in "${!counts[@]}"; do echo "$kind: ${counts[$kind]} times"; done
echo "$count stops of $tried tries, $((number - 1)) runs end with the bits of the one that was not stopped"
