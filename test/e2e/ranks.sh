# For scripts that train on several ranks: they source it after refuses.sh, with `bin`, `here` and `work`.
data="--data $here/goldens $here/gallery"
ranks() { local n=1 axis; for axis in ${1//,/ }; do [ "${axis%=*}" = zero ] || n=$((n * ${axis#*=})); done; echo $n; }
launch() { # RANKS ARGUMENT...
  local n=$1; shift
  if [ "$n" = 1 ]; then "$bin/megacc-run" "$@"; else mpirun -n "$n" --oversubscribe --allow-run-as-root "$bin/megacc-run" "$@"; fi
}
# same NAME ONE OTHER FIRST: losses from step FIRST on within 1e-5, relative.
same() {
  python3 - "$work/$2/metrics.jsonl" "$work/$3/metrics.jsonl" "$4" >"$work/log" 2>&1 <<'PYTHON' || fail "$1: other losses"
import json, sys
one, other = ({line["step"]: line["loss"] for line in map(json.loads, open(name)) if "loss" in line} for name in sys.argv[1:3])
steps = [step for step in one if step >= int(sys.argv[3])]
assert len(steps) >= 5 and all(step in other for step in steps), (len(one), len(other))
worst = max(abs(one[step] - other[step]) / one[step] for step in steps)
print(len(steps), "steps, losses", worst, "apart")
assert worst < 1e-5, worst
PYTHON
}
