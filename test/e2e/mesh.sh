#!/usr/bin/env bash
# mesh.sh BIN: training on several ranks gives the losses of one; the same run twice gives the same bits; a checkpoint of any mesh goes on
# on any other; what does not fit together is refused.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
command -v mpirun >/dev/null || { echo "skipped: there is no mpirun"; exit 77; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"
. "$here/ranks.sh"
declaration=$here/goldens/mesh_hybrid.mlir
sed 's/vocab 64/vocab 256/; s/lr = 3.0e-3/lr = 3.0e-4/' "$declaration" >"$work/model.mlir"
train() { # MESH ARGUMENT...
  local mesh=$1; shift
  launch "$(ranks "$mesh")" "$work/$mesh.so" $data --threads 1 "$@" >"$work/log" 2>&1 || fail "$mesh: training failed"
}
for mesh in dp=1 dp=2 tp=2 dp=2,tp=2 tp=4 ep=2 tp=2,ep=2; do
  "$bin/megacc" "$work/model.mlir" --mesh $mesh -o "$work/$mesh.so" || fail "$mesh: does not compile"
done
train dp=1 --steps 20 --out "$work/one"
for mesh in dp=2 tp=2 dp=2,tp=2 ep=2 tp=2,ep=2; do
  train $mesh --steps 20 --out "$work/$mesh" --verify
  same "$mesh" one $mesh 1
done
# Three heads of R, which two ranks cannot share: both have all of it.
sed 's/value = 4, heads = 4, conv/value = 4, heads = 3, conv/' "$work/model.mlir" >"$work/uneven.mlir"
cmp -s "$work/model.mlir" "$work/uneven.mlir" && fail 'R has as many heads as before'
for mesh in dp=1 tp=2; do
  "$bin/megacc" "$work/uneven.mlir" --mesh $mesh -o "$work/uneven-$mesh.so" || fail "uneven heads, $mesh: does not compile"
  train uneven-$mesh --steps 20 --out "$work/uneven-$mesh"
done
same 'uneven heads, tp=2' uneven-dp=1 uneven-tp=2 1
# The same with the tokens shared over tp; twice the same bits.
for mesh in tp=2 dp=2,tp=2 tp=2,ep=2; do
  "$bin/megacc" "$work/model.mlir" --mesh $mesh --sequence-parallel -o "$work/sequence.so" || fail "$mesh: does not compile"
  for out in sequence-$mesh sequence-again; do
    rm -rf "${work:?}/$out"
    launch "$(ranks $mesh)" "$work/sequence.so" $data --threads 1 --steps 20 --out "$work/$out" --verify >"$work/log" 2>&1 ||
      fail "$mesh with shared tokens: training failed"
  done
  same "$mesh with shared tokens" one sequence-$mesh 1
  cmp "$work/sequence-$mesh/checkpoint.safetensors" "$work/sequence-again/checkpoint.safetensors" ||
    fail "$mesh with shared tokens: the same run gives other bits"
done
train dp=2,tp=2 --steps 20 --out "$work/again"
cmp "$work/dp=2,tp=2/checkpoint.safetensors" "$work/again/checkpoint.safetensors" || fail 'the same run gives other bits'

# Half a run on one mesh, the other half on others.
train dp=2,tp=2 --steps 10 --out "$work/half"
for mesh in dp=1 tp=4 dp=2,tp=2; do
  train $mesh --steps 20 --resume "$work/half" --out "$work/on-$mesh"
  same "resumed on $mesh" one on-$mesh 11
done
cmp "$work/on-dp=2,tp=2/checkpoint.safetensors" "$work/again/checkpoint.safetensors" || fail 'a resumed run gives other bits'
train ep=2 --steps 10 --out "$work/half-experts"
for mesh in dp=1 ep=2; do
  train $mesh --steps 20 --resume "$work/half-experts" --out "$work/experts-on-$mesh"
  same "experts resumed on $mesh" one experts-on-$mesh 11
done
cmp "$work/experts-on-ep=2/checkpoint.safetensors" "$work/ep=2/checkpoint.safetensors" || fail 'a resumed run of ep = 2 gives other bits'

# A rank that dies ends the job; the last checkpoint stays and goes on.
mpirun -n 2 --oversubscribe --allow-run-as-root "$bin/megacc-run" "$work/dp=2.so" $data --threads 1 --steps 100000 --checkpoint-every 1 \
  --out "$work/dying" >"$work/log" 2>&1 &
job=$!
until [ -s "$work/dying/checkpoint.safetensors" ]; do sleep 0.1; done
kill -KILL "$(pgrep -P $job | tail -n 1)"
wait $job && fail 'a rank died and the job went on'
"$bin/megacc-run" "$work/dp=1.so" $data --threads 1 --steps 100000 --resume "$work/dying" --out "$work/after" >"$work/log" 2>&1 &
job=$!
until [ -s "$work/after/metrics.jsonl" ] || ! kill -0 $job 2>/dev/null; do sleep 0.1; done
kill -TERM $job 2>/dev/null; wait $job
grep -q 'resuming after step' "$work/log" && [ -s "$work/after/metrics.jsonl" ] || fail 'the checkpoint of a job that died does not go on'

# A rank that stops without dying: the other one says where it waited for it, and ends the job.
MEGACC_PATIENCE=2 mpirun -n 2 --oversubscribe --allow-run-as-root "$bin/megacc-run" "$work/tp=2.so" $data --threads 1 --steps 100000 \
  --out "$work/hanging" >"$work/log" 2>&1 &
job=$!
until [ -s "$work/hanging/metrics.jsonl" ] || ! kill -0 $job 2>/dev/null; do sleep 0.1; done
kill -STOP "$(pgrep -P $job | tail -n 1)"
wait $job && fail 'a rank stopped and the job went on'
waits='waiting for the ranks of (axis tp|the mesh) for [0-9]+ s (in mg_[a-z_]+ at "[^"]+"|between launches); fix: '
grep -qE "rank [01]: error: after step [0-9]+: $waits" "$work/log" || fail 'a rank that stopped is not reported'
refuses 'patience' "MEGACC_PATIENCE is '2s', expected a number of seconds" env MEGACC_PATIENCE=2s mpirun -n 2 --oversubscribe \
  --allow-run-as-root "$bin/megacc-run" "$work/dp=2.so" $data --steps 1 --out "$work/none"

refuses 'one rank of two' 'compiled for 2 ranks \(dp = 2, tp = 1, ep = 1\), 1 is started; fix: mpirun -n 2' \
  launch 1 "$work/dp=2.so" $data --steps 1 --out "$work/none"
refuses 'two ranks of one' 'compiled for 1 rank .*, 2 are started' launch 2 "$work/dp=1.so" $data --steps 1 --out "$work/none"
cat >"$work/mixed.sh" <<SCRIPT
step=$work/dp=2.so; [ \$OMPI_COMM_WORLD_RANK = 0 ] || step=$work/tp=2.so
exec $bin/megacc-run \$step $data --steps 1 --out $work/none
SCRIPT
refuses 'other artifacts' 'rank 1 has the step of hash [0-9a-f]{32}, rank 0 that of [0-9a-f]{32}; fix' \
  mpirun -n 2 --oversubscribe --allow-run-as-root bash "$work/mixed.sh"
[ ! -e "$work/none" ] || fail 'a refused run left a folder'
refuses 'sampling' '--sample of a step of several ranks is not supported yet' launch 2 "$work/dp=2.so" --sample 3 --resume "$work/half"
exit $status
