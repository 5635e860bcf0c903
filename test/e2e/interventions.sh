#!/usr/bin/env bash
# interventions.sh BIN: runs with FIRE, DASH and ReDo go on to the same bits around an event, at any number of threads; an event that
# changes nothing changes no bit; schedules and single calls from the command line; what they report, and what is refused.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"
. "$here/small_model.sh"
says() { grep -q -e "$1" "$work/log" || { cat "$work/log"; fail "it does not say '$1'"; }; }

# Before, at and after an event.
while IFS='|' read -r name training; do
  compile "$name" "$training"
  run "$work/$name.so" --steps 6 --out "$work/$name" --verify --threads 1
  for stop in 2 3 4; do
    run "$work/$name.so" --steps $stop --out "$work/$name-$stop" --threads 2
    run "$work/$name.so" --steps 6 --resume "$work/$name-$stop" --threads 3
    same "$work/$name" "$work/$name-$stop" "$name, resumed after step $stop"
  done
done <<'END'
plain|optimizer = adamw<lr = 1.0e-3>
fire|optimizer = adamw<lr = 1.0e-3>, interventions = [fire<at = [3]>]
dash|moments = bf16, optimizer = adamw<lr = 1.0e-3>, interventions = [dash<at = [3]>, dash<every = 2, direction = gradient>]
redo|optimizer = muon<lr = 1.0e-3>, accumulate = 2, interventions = [redo<every = 3, tau = 0.7, tokens = 20>]
all|optimizer = adamw<lr = 1.0e-3>, interventions = [redo<every = 1, tau = 0.6, tokens = 8>, dash<every = 3>, fire<at = [3, 5]>]
END
for name in fire dash redo all; do
  cmp -s "$work/plain/checkpoint.safetensors" "$work/$name/checkpoint.safetensors" && fail "$name changes nothing"
done

# Every unit is awake: parameters and moments as without the event.
compile awake 'optimizer = adamw<lr = 1.0e-3>, interventions = [redo<every = 1, tau = 0.0, tokens = 1>]'
run "$work/awake.so" --steps 6 --out "$work/awake"
run "$work/awake.so" --steps 6 --out "$work/asleep" --intervention=0:at=100
/usr/bin/python3 "$here/same_tensors.py" "$work/asleep/checkpoint.safetensors" "$work/awake/checkpoint.safetensors" ||
  fail 'redo without a dormant unit changes a tensor'

# What a call reports.
run "$work/all.so" --steps 3 --out "$work/report"
says 'step 3: fire: pieces 25 moved 0\.[0-9]* residual'
says 'step 3: dash: rows [1-9]'
says 'step 1: redo: [0-9]* dormant units of 2 layers not_judged [0-9]'
/usr/bin/python3 - "$work/report/metrics.jsonl" <<'END' || fail 'metrics.jsonl has no reports'
import json, sys
calls = [entry for entry in map(json.loads, open(sys.argv[1])) if "kind" in entry]
assert [(entry["step"], entry["kind"]) for entry in calls] == [(1, "redo"), (2, "redo"), (3, "redo"), (3, "dash"), (3, "fire")], calls
fire, dash = calls[-1], calls[-2]
assert 0 < fire["moved"] < 2 and fire["pieces"] == 25, fire
assert 0 < dash["shrunk"] <= dash["rows"] and 0.3 <= dash["mean"] < 1, dash
assert set(calls[0]["dormant"]) == {"blocks.1.mixer.experts", "blocks.1.mixer.shared"}, calls[0]
END

# Schedules are of the run: one of the command line is kept by a checkpoint.
run "$work/fire.so" --steps 6 --out "$work/moved" --intervention=0:at=[2,5] --intervention=0:at=3
same "$work/fire" "$work/moved" 'the last flag counts'
run "$work/fire.so" --steps 4 --out "$work/later" --intervention=0:every=2
run "$work/fire.so" --steps 6 --out "$work/straight" --intervention=0:every=2
run "$work/fire.so" --steps 6 --resume "$work/later"
same "$work/straight" "$work/later" 'a schedule that the checkpoint keeps'
run "$work/fire.so" --steps 7 --resume "$work/later" --out "$work/other" --intervention=0:at=9
says 'fire at \[9\] replaces the checkpoint.s fire every 2 after 0'
says 'warning: fire: no update from 7 up to 7 steps is due'
run "$work/plain.so" --steps 7 --resume "$work/fire" --out "$work/dropped"
run "$work/redo.so" --steps 2 --out "$work/early"
says 'warning: redo: no update up to 2 steps is due'
run "$work/dash.so" --steps 3 --out "$work/changed"
compile undashed 'moments = bf16, optimizer = adamw<lr = 1.0e-3>, interventions = [fire<at = [9]>]'
run "$work/undashed.so" --steps 4 --resume "$work/changed"
says "the interventions are not the checkpoint's: fire instead of dash, dash"

# Once, before the first step.
run "$work/fire.so" --steps 7 --resume "$work/fire" --out "$work/once" --intervene=0
says 'step 6: fire: pieces 25 moved 0\.0[0-9]* residual [1-9.]*e-0[67]'
refuses 'an intervention that needs a step' '--intervene=0: redo needs the activity of a step' \
  "$bin/megacc-run" "$work/redo.so" --data "$work/text" --steps 7 --out "$work/no" --intervene=0
refuses 'a gradient that is not there' '--intervene=1: dash with direction = gradient needs the gradient of a step' \
  "$bin/megacc-run" "$work/dash.so" --data "$work/text" --steps 7 --out "$work/no" --intervene=0,1
refuses 'an intervention that is not there' '--intervene=2: the step has 1 interventions, from 0' \
  "$bin/megacc-run" "$work/fire.so" --data "$work/text" --steps 7 --out "$work/no" --intervene=2
refuses 'a schedule of none' '--intervention=1:every=2: the step has 1 interventions, from 0' \
  "$bin/megacc-run" "$work/fire.so" --data "$work/text" --steps 7 --out "$work/no" --intervention=1:every=2
refuses 'a key that is compiled in' '--intervention=0:scale=1: has no scale; there are at, every, start, stop' \
  "$bin/megacc-run" "$work/fire.so" --data "$work/text" --steps 7 --out "$work/no" --intervention=0:scale=1
refuses 'steps that do not ascend' 'at = \[3,2\] are no steps' \
  "$bin/megacc-run" "$work/fire.so" --data "$work/text" --steps 7 --out "$work/no" '--intervention=0:at=[3,2]'
exit $status
