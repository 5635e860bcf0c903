#!/usr/bin/env bash
# numbered_ranks.sh BIN LAUNCHER: ranks that are told their places as torchrun does, without MPI: the bits of a run that MPI connects; a
# rank that dies is named by the others with the step, and the job ends; what does not fit together is refused.
set -u
bin=$1 launcher=$2 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"
mkfifo "$work/hold"
data="--data $here/goldens $here/gallery --threads 1"
sed 's/vocab 64/vocab 256/' "$here/goldens/mesh_hybrid.mlir" >"$work/model.mlir"
for mesh in dp=2 dp=2,tp=2; do "$bin/megacc" "$work/model.mlir" --mesh $mesh -o "$work/$mesh.so" || fail "$mesh: does not compile"; done

"$launcher" 4 "$bin/megacc-run" "$work/dp=2,tp=2.so" $data --steps 6 --out "$work/tcp" >"$work/log" 2>&1 || fail 'training failed'
"$launcher" 4 "$bin/megacc-run" "$work/dp=2,tp=2.so" $data --steps 8 --resume "$work/tcp" >"$work/log" 2>&1 || fail 'resuming failed'
if command -v mpirun >/dev/null; then
  mpirun -n 4 --oversubscribe --allow-run-as-root "$bin/megacc-run" "$work/dp=2,tp=2.so" $data --steps 8 --out "$work/mpi" >"$work/log" 2>&1
  cmp "$work/tcp/checkpoint.safetensors" "$work/mpi/checkpoint.safetensors" || fail 'MPI gives other bits'
fi

# Where torchrun's own store has the port, ranks meet at the next one.
python3 -c '
import socket, sys
with socket.socket() as store:
    store.bind(("", 0)); store.listen(); print(store.getsockname()[1], flush=True); sys.stdin.read()' <"$work/hold" >"$work/port" &
exec 9>"$work/hold"
until [ -s "$work/port" ]; do sleep 0.1; done
export MASTER_PORT; MASTER_PORT=$(cat "$work/port")
TORCHELASTIC_USE_AGENT_STORE=True "$launcher" 2 "$bin/megacc-run" "$work/dp=2.so" $data --steps 1 --out "$work/agent" >"$work/log" 2>&1 ||
  fail 'beside a store: training failed'
refuses 'a port that is taken' "other ranks cannot be waited for at port $MASTER_PORT: Address already in use; fix: another MASTER_PORT" \
  env RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 "$bin/megacc-run" "$work/dp=2.so" $data --steps 1 --out "$work/none"
exec 9>&-; unset MASTER_PORT

# The second of two ranks dies in the middle.
"$launcher" 2 bash -c "echo \$\$ >$work/pid.\$RANK; exec \"\$@\"" - \
  "$bin/megacc-run" "$work/dp=2.so" $data --steps 100000 --checkpoint-every 1 --out "$work/dying" >"$work/log" 2>&1 &
job=$!
until [ -s "$work/dying/checkpoint.safetensors" ] || ! kill -0 $job 2>/dev/null; do sleep 0.1; done
kill -KILL "$(cat "$work/pid.1")"
wait $job && fail 'a rank died and the job went on'
grep -qE 'rank 0: error: after step [0-9]+: .*rank 1 has ended' "$work/log" || fail 'who died when is not said'

place() { # RANK WORLD_SIZE MASTER_ADDR MASTER_PORT
  env RANK="$1" WORLD_SIZE="$2" MASTER_ADDR="$3" MASTER_PORT="$4" "$bin/megacc-run" "$work/dp=2.so" $data --steps 1 --out "$work/none"
}
refuses 'three ranks of two' 'compiled for 2 ranks \(dp = 2, tp = 1, ep = 1\), 3 are started' place 0 3 127.0.0.1 29999
refuses 'no address' 'MASTER_ADDR is not; fix: set it to the host of rank 0' place 0 2 '' 29999
refuses 'no port' "MASTER_PORT is '', expected a number from 1 to 65534" place 0 2 127.0.0.1 ''
refuses 'a rank too many' "RANK is '2', expected a number from 0 to 1" place 2 2 127.0.0.1 29999
cat >"$work/mixed.sh" <<SCRIPT
step=$work/dp=2,tp=2.so; [ \$RANK = 3 ] || exec $bin/megacc-run \$step $data --steps 1 --out $work/none
exec $bin/megacc-run $work/model.so $data --steps 1 --out $work/none
SCRIPT
"$bin/megacc" "$work/model.mlir" --mesh dp=2,tp=2 --log-blocks -o "$work/model.so" || fail 'does not compile'
refuses 'other artifacts' 'rank 3 has the step of hash [0-9a-f]{32}, rank 0 that of [0-9a-f]{32}; fix' "$launcher" 4 bash "$work/mixed.sh"
[ ! -e "$work/none" ] || fail 'a refused run left a folder'
exit $status
