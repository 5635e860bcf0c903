#!/usr/bin/env bash
# checkpoints.sh BIN: what a checkpoint is good for, and what is refused.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"
data="$here $models"
train() { "$bin/megacc-run" "$work/step.so" --data $data "$@"; }
"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/step.so" --micro-batch 1 || exit 1
sed 's/width = 512/width = 256/' "$models/dense-tiny.mlir" >"$work/other.mlir"
"$bin/megacc" "$work/other.mlir" -o "$work/other.so" --micro-batch 1 || exit 1
train --steps 4 --out "$work/run" >"$work/log" 2>&1 || fail 'training failed'
checkpoint=$work/run/checkpoint.safetensors
cp "$checkpoint" "$work/kept"

refuses 'a second run in the folder' 'already holds the checkpoint of a run; fix: --resume' train --steps 4 --out "$work/run"
refuses 'another model' "'blocks.1.mixer.up.weight' is F32 \(512, 128\) in @dense_tiny, the file has F32 \(1024, 128\)" \
  "$bin/megacc-run" "$work/other.so" --data $data --steps 8 --resume "$work/run"
mkdir "$work/empty"
refuses 'an empty folder' 'holds no checkpoint.safetensors' train --steps 8 --resume "$work/empty"
refuses 'fewer steps' 'stands after step 4, --steps is the total and says 3' train --steps 3 --resume "$work/run"

mkdir "$work/short" "$work/changed"
head -c 100000 "$work/kept" >"$work/short/checkpoint.safetensors"
refuses 'a truncated checkpoint' 'truncated or altered' train --steps 8 --resume "$work/short"
cp "$work/kept" "$work/changed/checkpoint.safetensors"
printf '\x01\x02\x03\x04' | dd of="$work/changed/checkpoint.safetensors" bs=1 seek=500000 conv=notrunc 2>/dev/null
refuses 'an altered checkpoint' 'is altered: its hash is' train --steps 8 --resume "$work/changed"

refuses 'a checkpoint in the way' 'already holds the checkpoint of a run' train --steps 8 --resume "$work/run" --out "$work/changed"
for rate in nan inf -1.0; do
  refuses "--lr $rate" '--lr must be a finite number above 0' train --steps 8 --lr $rate --resume "$work/run"
done
cmp "$work/kept" "$checkpoint" || fail 'a refused run touched the checkpoint'

# Two runs at once in one folder: the second is refused and names the first.
# Not by a function: the signal must reach the program.
"$bin/megacc-run" "$work/step.so" --data $data --steps 400 --out "$work/busy" >"$work/first" 2>&1 &
first=$!
until [ -s "$work/busy/metrics.jsonl" ]; do sleep 0.02; done
refuses 'a second run at once' "another run is writing here, process [0-9]+; fix" train --steps 4 --out "$work/busy"
kill -HUP $first; wait $first; [ $? = 129 ] || fail 'SIGHUP did not end the run with 129'
[ -e "$work/busy/checkpoint.safetensors" ] || fail 'SIGHUP left no checkpoint'

# Older checkpoints stay beside the newest, as many as are asked for.
train --steps 6 --checkpoint-every 2 --keep 3 --out "$work/older" >"$work/log" 2>&1 || fail '--keep failed'
for age in 1 2; do
  mkdir "$work/age-$age" && cp "$work/older/checkpoint.$age.safetensors" "$work/age-$age/checkpoint.safetensors"
  train --steps 6 --resume "$work/age-$age" >"$work/log" 2>&1 || fail "an older checkpoint does not load"
  grep -q "resuming after step $((6 - 2 * age)) " "$work/log" || fail "checkpoint.$age is not of step $((6 - 2 * age))"
  cmp "$work/older/checkpoint.safetensors" "$work/age-$age/checkpoint.safetensors" || fail "checkpoint.$age does not lead to the same bits"
done
[ ! -e "$work/older/checkpoint.3.safetensors" ] || fail '--keep 3 kept four'

# A reader that goes away does not end a run.
train --steps 6 --out "$work/pipe" 2>"$work/log" | true
[ -e "$work/pipe/checkpoint.safetensors" ] || fail 'a closed pipe ended the run'

# A full disk, as a limit on the size of files: the save fails, the old checkpoint stays.
(trap '' XFSZ; ulimit -f 512; train --steps 8 --resume "$work/run") >"$work/log" 2>&1
[ $? = 1 ] || fail 'a full disk was not noticed'
grep -q 'cannot write' "$work/log" || fail 'a full disk: expected "cannot write"'
cmp "$work/kept" "$checkpoint" || fail 'a full disk: the old checkpoint is gone'
[ ! -e "$checkpoint.partial" ] || fail 'a full disk: half a checkpoint is left'

# Values come from the checkpoint; what is given again is said.
train --steps 8 --lr 1e-3 --resume "$work/run" >"$work/log" 2>&1 || fail 'resuming failed'
grep -q 'warning: --lr .* replaces' "$work/log" || fail 'a changed learning rate was not said'

# A step that is not finite changes nothing, names itself and its first bad block, and keeps the state before it.
train --steps 8 --lr 1e30 --warmup 0 --out "$work/nan" >"$work/log" 2>&1
[ $? = 1 ] || fail 'a step that is not finite went on'
grep -qE 'step [0-9]+ is not finite, first in the output of (embedding|blocks\.[0-9])' "$work/log" ||
  fail 'the first bad block is not named'

# Evaluation: during the run where it was asked for, of another source where one is named; refused where nothing is held out.
train --steps 4 --eval-every 2 --out "$work/eval" >"$work/log" 2>&1 || fail '--eval-every failed'
grep -q '^step 2: held-out loss' "$work/log" || fail 'no evaluation at step 2'
[ "$(grep -c held_out_loss "$work/eval/metrics.jsonl")" = 2 ] || fail 'metrics.jsonl has not two evaluations'
cp "$models/dense-tiny.mlir" "$work/one.txt"
refuses 'nothing held out' '--eval-every needs held-out data' \
  "$bin/megacc-run" "$work/step.so" --data "$work/one.txt" --steps 4 --eval-every 2 --out "$work/none"
"$bin/megacc-run" "$work/step.so" --data "$work/one.txt" --eval-data "$models/nam56r.mlir" --steps 2 \
  --out "$work/other-eval" >"$work/log" 2>&1 ||
  fail '--eval-data failed'
grep -qE 'held-out loss [0-9]' "$work/log" || fail '--eval-data was not evaluated'

# --init starts from parameters alone; sampling prints the prompt and goes on.
train --steps 1 --init "$checkpoint" --out "$work/init" >"$work/log" 2>&1 || fail '--init failed'
text=$("$bin/megacc-run" "$work/step.so" --sample 20 --prompt 'int main' --resume "$work/run" 2>"$work/log" | tr -d '\0' | head -c 28)
[ "${text:0:8}" = 'int main' ] || fail 'sampling lost its prompt'

# The profile names kernels and blocks, and the trace their paths.
train --steps 3 --profile --out "$work/profile" >"$work/log" 2>&1 || fail '--profile failed'
grep -qE 'mg_attention_grad +4\.0 ' "$work/log" && grep -qE '^ *0 A attention' "$work/log" || fail 'the profile lacks rows'
grep -q 'blocks.3.mixer/up' "$work/profile/trace.json" || fail 'the trace lacks paths'

# Calibration writes times by kernel and shape, no checkpoint; a CPU has no choices to take.
train --calibrate "$work/costs.json" >"$work/log" 2>&1 || fail '--calibrate failed'
python3 - "$work/costs.json" <<'PYTHON' || fail '--calibrate wrote other costs'
import json, sys
content = json.load(open(sys.argv[1]))
grads = [cost for cost in content['costs'] if cost['kernel'] == 'mg_attention_grad']
assert content['target'] == 'cpu' and content['choices'] == [] and len(grads) == 1, content
assert grads[0]['launches'] == 4 and grads[0]['milliseconds'] > 0 and grads[0]['ints']['heads'] > 0, grads
assert 'f32' in grads[0]['types'] and 0 < content['kernel_milliseconds'] and 0 < content['step_milliseconds'], content
PYTHON
refuses 'choices on a CPU' 'have nothing to choose; fix: leave --choices out' "$bin/megacc-run" "$work/step.so" --data "$models" --steps 1 \
  --choices "$work/costs.json" --out "$work/none"
refuses 'choices that are none' 'is not a file that --calibrate wrote' "$bin/megacc-run" "$work/step.so" --data "$models" --steps 1 \
  --choices "$models/nam56r.mlir" --out "$work/none"
refuses 'choices of no file' 'cannot be read' "$bin/megacc-run" "$work/step.so" --data "$models" --steps 1 \
  --choices "$work/nothing" --out "$work/none"
refuses 'two wishes' 'give one of them' "$bin/megacc-run" "$work/step.so" --data "$models" \
  --calibrate "$work/a" --choices "$work/costs.json"
exit $status
