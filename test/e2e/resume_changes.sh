#!/usr/bin/env bash
# resume_changes.sh BIN: what may change between a run and its resumption and what may not: the step, the data, their names and places; and
# data that change while a run reads them.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"

cat >"$work/small.mlir" <<'END'
mega.model @small hidden 32 vocab 256 sequence 32 {
  mega.pattern "AF" depth 2
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 8>
  mega.family "F" = mlp<width = 64, activation = gelu>
}
mega.train @step of @small { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }
END
# compile NAME SED [FLAG...]: NAME.so of the small model edited by SED.
compile() {
  sed -E "$2" "$work/small.mlir" >"$work/edited.mlir"
  "$bin/megacc" "$work/edited.mlir" -o "$work/$1.so" "${@:3}" || fail "$1 does not compile"
}
compile small ''
small() { "$bin/megacc-run" "$work/small.so" "$@" >"$work/log" 2>&1; }
# same NAME RUN RUN: both end with the same bits.
same() { cmp "$2/checkpoint.safetensors" "$3/checkpoint.safetensors" || fail "$1: other bits"; }
# refusesResume NAME WORDS FLAG...: resuming base fails with status 1 and WORDS, and leaves its checkpoint.
refusesResume() {
  local name=$1 words=$2; shift 2
  refuses "$name" "$words" "$bin/megacc-run" "$@" --resume "$work/base"
  cmp "$work/kept" "$work/base/checkpoint.safetensors" || fail "$name: the checkpoint was touched"
}
mkdir -p "$work/src/one" "$work/src/two"
for i in {10..24}; do
  head -c $((900 + i)) "$models/nam56r.mlir" | tail -c 800 >"$work/src/one/$i"
  cp "$models/dense-tiny.mlir" "$work/src/two/$i"
done
small --data "$work/src" --steps 4 --out "$work/base" || fail 'a small run failed'
cp "$work/base/checkpoint.safetensors" "$work/kept"

# Resumed with another step.so: the field that differs with both values; where it is legal, it is said.
while IFS='|' read -r name edit words; do
  compile other "$edit"
  refusesResume "another $name" "$words" "$work/other.so" --data "$work/src" --steps 8
done <<'END'
micro-batch|s/micro_batch = 2/micro_batch = 4/|'train/micro_batch' is 2 in the checkpoint and 4 in the step.so
accumulation|s/micro_batch = 2/micro_batch = 1, accumulate = 2/|'train/accumulate' is 1 in the checkpoint and 2 in the step.so
activation|s/gelu/relu2/|'families/F/activation' is gelu in the checkpoint and relu2 in the step.so
head layout|s/heads = 4, kv_heads = 2, head_dim = 8/heads = 2, kv_heads = 1, head_dim = 16/|'families/A/heads' is 4 in the checkpoint and 2
sequence|s/sequence 32/sequence 16/|'sequence' is 32 in the checkpoint and 16
order of blocks|s/"AF" depth 2/"FA" depth 2/|is of another (model|declaration)
seed|s/micro_batch = 2/&, seed = 1/|'train/seed' is 0 in the checkpoint and 1
clip|s/micro_batch = 2/&, clip = 0.5/|'train/clip' is 1 in the checkpoint and 0.5
documents|s/micro_batch = 2/&, documents = true/|'train/documents' is 0 in the checkpoint and 1
beta|s/lr = 1.0e-3/&, beta1 = 0.8/|'train/optimizer/beta1' is 0.9 in the checkpoint and 0.8
epsilon|s/lr = 1.0e-3/&, eps = 1.0e-6/|'train/optimizer/eps' is 1e-08 in the checkpoint and 1e-06
decay|s/lr = 1.0e-3/&, decay = 0.0/|'train/optimizer/decay' is 0.1 in the checkpoint and 0
declared rate|s/lr = 1.0e-3/lr = 2.0e-3/|'train/optimizer/lr' is 0.001 in the checkpoint and 0.002
schedule|s/lr = 1.0e-3/&, schedule = cosine<steps = 8>/|'train/optimizer/schedule' is constant in the checkpoint and cosine
END
compile bf16 '' --precision=bf16
"$bin/megacc-run" "$work/bf16.so" --data "$work/src" --steps 6 --resume "$work/base" --out "$work/bf16" >"$work/log" 2>&1 ||
  fail 'another precision was refused'
grep -q 'was computed with precision fp32, this is bf16' "$work/log" || fail 'another precision was not said'
compile other 's/micro_batch = 2/micro_batch = 4/'
"$bin/megacc-run" "$work/other.so" --sample 3 --prompt a --resume "$work/base" >"$work/log" 2>&1 ||
  fail 'sampling with another batch size was refused'

# Resumed with other data.
other='the run was trained on other data'
refusesResume 'fewer files' "'files' is 28 in the checkpoint and 14 in" "$work/small.so" --data "$work/src/one" --steps 8
refusesResume 'other held-out data' "'files' is 28 in the checkpoint and 30 in" \
  "$work/small.so" --data "$work/src" --eval-data "$here" --steps 8
cp "$work/src/one/12" "$work/twelve"
echo more >>"$work/src/one/12"
refusesResume 'a longer file' "$other.*" "$work/small.so" --data "$work/src" --steps 8
grep -qE "'bytes' is [0-9]+ in the checkpoint and [0-9]+ in" "$work/log" || fail 'a longer file: its size is not said'
tr a b <"$work/twelve" >"$work/src/one/12"
refusesResume 'another content of the same size' "'content' is" "$work/small.so" --data "$work/src" --steps 8
cp "$work/twelve" "$work/src/one/12"; mv "$work/src/one/12" "$work/src/one/12a"
refusesResume 'a renamed file' "'names' is" "$work/small.so" --data "$work/src" --steps 8
mv "$work/src/one/12a" "$work/src/one/12"

# The same data spelled otherwise, named twice, or moved as a whole: the same order, split and bits.
small --data "$work/src" --steps 8 --out "$work/whole" || fail 'a whole run failed'
(cd "$work/src/one" && small --data ../two . --steps 8 --out "$work/spelled") || fail 'data spelled otherwise: failed'
same 'data spelled otherwise' "$work/whole" "$work/spelled"
small --data "$work/src" "$work/src/one" "$work/src/two/13" --steps 8 --out "$work/twice" || fail 'data named twice: failed'
same 'data named twice' "$work/whole" "$work/twice"
grep -q 'files are named more than once; each is read once' "$work/log" || fail 'data named twice: not said'
cp -r "$work/src" "$work/moved"
small --data "$work/moved" --steps 8 --resume "$work/base" --out "$work/from-moved" || fail 'moved data: refused'
same 'moved data' "$work/whole" "$work/from-moved"

# The run's folder, and those of others, inside the data are not read.
small --data "$work/moved" --steps 4 --checkpoint-every 2 --out "$work/moved/runs/a" || fail 'a folder inside the data: failed'
small --data "$work/moved" --steps 8 --resume "$work/moved/runs/a" || fail 'a folder inside the data: resuming failed'
grep -q 'runs/a is the folder of a run; it is not read' "$work/log" || fail 'a folder inside the data: not said'
same 'a folder inside the data' "$work/whole" "$work/moved/runs/a"
small --data "$work/moved" --steps 8 --out "$work/moved/runs/b" || fail 'a second folder inside the data: failed'
same 'a second folder inside the data' "$work/whole" "$work/moved/runs/b"
refuses 'the data as the folder' 'is the folder of this run, which it writes to; fix: another --out' \
  "$bin/megacc-run" "$work/small.so" --data "$work/src" --steps 4 --out "$work/src"
[ ! -e "$work/src/run.lock" ] || fail 'the data as the folder: written to'

# Another folder gets a checkpoint of its own even where no step is left.
small --data "$work/src" --steps 8 --resume "$work/whole" --out "$work/copy" || fail 'a finished run in another folder: failed'
same 'a finished run in another folder' "$work/whole" "$work/copy"

# A token file that becomes shorter while it is trained or evaluated on: the steps until then are saved, and the run can go on.
tr -c 'a-z' 'e' <"$here/resume_changes.sh" | sed 's/./&\x00/g' | tr -d '\n' >"$work/tokens" # uint16
for kind in data eval-data; do
  cp "$work/tokens" "$work/$kind.bin"; size=$(stat -c %s "$work/$kind.bin")
  trained=$work/data.bin extra=()
  if [ $kind = eval-data ]; then cp "$work/tokens" "$trained"; extra=(--eval-data "$work/eval-data.bin" --eval-every 1); fi
  "$bin/megacc-run" "$work/small.so" --data "$trained" "${extra[@]}" --steps 1000000 --out "$work/cut-$kind" >"$work/log" 2>&1 &
  child=$!
  until [ -s "$work/cut-$kind/metrics.jsonl" ]; do sleep 0.02; done
  truncate -s $((size / 2)) "$work/$kind.bin"
  wait $child; [ $? = 1 ] || fail "truncated $kind: not exit status 1"
  grep -q "error: .*$kind.bin: has $((size / 2)) bytes, it had $size when it was opened: it was truncated; fix" "$work/log" ||
    fail "truncated $kind: the sizes are not said"
  done=$(grep -c grad_norm "$work/cut-$kind/metrics.jsonl")
  cp "$work/tokens" "$work/$kind.bin"
  small --data "$trained" "${extra[@]}" --steps $((done + 3)) --resume "$work/cut-$kind" || fail "truncated $kind: does not go on"
  grep -q "resuming after step $done " "$work/log" || fail "truncated $kind: the checkpoint is not of the last step, $done"
  small --data "$trained" "${extra[@]}" --steps $((done + 3)) --out "$work/uncut-$kind" || fail "truncated $kind: the whole run failed"
  python3 "$here/same_tensors.py" "$work/uncut-$kind/checkpoint.safetensors" "$work/cut-$kind/checkpoint.safetensors" ||
    fail "truncated $kind: other bits"
done

# --init, too, wants a checkpoint as it was written.
cp -r "$work/base" "$work/flipped"
printf '\x01\x02\x03\x04' | dd of="$work/flipped/checkpoint.safetensors" bs=1 seek=50000 conv=notrunc 2>/dev/null
refuses 'an altered checkpoint for --init' 'is altered: its hash is' \
  "$bin/megacc-run" "$work/small.so" --data "$work/src" --steps 4 --init "$work/flipped/checkpoint.safetensors" --out "$work/none"
compile relu 's/gelu/relu2/'
"$bin/megacc-run" "$work/relu.so" --data "$work/src" --steps 1 --init "$work/base/checkpoint.safetensors" --out "$work/relu" \
  >"$work/log" 2>&1 || fail '--init of another activation failed'
grep -q "warning: .* has the parameters of another model:" "$work/log" || fail '--init of another activation was not said'

# A folder that cannot be written to is not a full disk.
if [ "$(id -u)" = 0 ]; then
  mkdir "$work/locked"; chmod 755 "$work" "$work/locked"; cp -r "$work/base" "$work/theirs"; chmod -R a+rX "$work"
  nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$bin/megacc-run" "$work/small.so" --data "$work/src" --steps 6 "$@"; }
  refuses 'a folder of somebody else' 'locked/run: cannot create the folder: Permission denied; fix: make the folder writable' \
    nobody --out "$work/locked/run"
  refuses 'a run of somebody else' 'run.lock: cannot create: Permission denied; fix: make the folder writable' \
    nobody --resume "$work/theirs"
fi

# Where every document has one token there is nothing to learn, and where hardly any has more it is said.
compile documents '' --documents
mkdir "$work/letters"; for i in {100..299}; do printf 'x' >"$work/letters/$i"; done
refuses 'every target ignored' 'letters has only documents of one token, which leave no target to learn from' \
  "$bin/megacc-run" "$work/documents.so" --data "$work/letters" --steps 2 --out "$work/none"
printf 'xy' >"$work/letters/1"
"$bin/megacc-run" "$work/documents.so" --data "$work/letters" --eval-data "$here" --steps 4 --out "$work/letters-run" >"$work/log" 2>&1 ||
  fail 'rare targets: failed'
grep -q 'warning: every target of step [0-9] is ignored' "$work/log" || fail 'a step without targets was not said'
exit $status
