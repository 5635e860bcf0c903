#!/usr/bin/env bash
# bad_data.sh BIN: data, tensors and flags that megacc-run refuses, with a non-zero exit, the expected words and no output file; and what it
# recognises.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd); models=$here/../../models
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
status=0
fail() { echo "$1"; cat "$work/log"; status=1; }

# refuses NAME OUTPUT WORDS COMMAND...: the command fails, says WORDS and leaves no OUTPUT.
refuses() {
  local name=$1 output=$2 words=$3; shift 3
  ! "$@" >"$work/log" 2>&1 || fail "$name: was accepted"
  grep -qE -- "$words" "$work/log" || fail "$name: expected '$words'"
  [ ! -e "$output" ] || fail "$name: left $output behind"
}
# trains NAME WORDS FLAG...: megacc-run refuses the flags, and writes nothing.
trains() { local name=$1 words=$2; shift 2; refuses "$name" "$work/o" "$words" "$bin/megacc-run" "$work/step.so" --out "$work/o" "$@"; }
# recognises NAME WORDS STEP DATA: a step is trained, and WORDS are said.
recognises() {
  "$bin/megacc-run" "$work/$3.so" --data "$work/$4" --steps 1 --out "$work/$1-run" >"$work/log" 2>&1 || fail "$1: was refused"
  grep -qE -- "$2" "$work/log" || fail "$1: expected '$2'"
}
"$bin/megacc" "$models/dense-tiny.mlir" -o "$work/step.so" || exit 1
python3 -c "import sys; sys.stdout.buffer.write(bytes([1, 0] * 500 + [44, 1] + [1, 0] * 500))" >"$work/big.bin"

# Data of another kind than it is read as.
mkdir "$work/mixed" "$work/short-eighth" "$work/wide"
cp "$work/big.bin" "$models/dense-tiny.mlir" "$work/mixed"
trains token-file-beside-bytes 'big.bin is a token file, .*tiny.mlir would be read as bytes; fix: name token files' --data "$work/mixed"
trains token-file-and-folder 'big.bin is a token file, .* would be read as bytes' --data "$work/big.bin" "$models" --steps 1
trains token-type-of-bytes '--token-type is for token files' --data "$models" --token-type uint16 --steps 1
python3 -c "import sys; sys.stdout.buffer.write(b'\x93NUMPY' + bytes(5000))" >"$work/array.npy"
trains numpy-array 'array.npy: is not read as bytes, it is a NumPy array; fix' --data "$work/array.npy" --steps 1
cp "$work/array.npy" "$work/array.bin"
trains numpy-array-as-tokens 'array.bin: is not plain tokens, it is a NumPy array' --data "$work/array.bin" --steps 1
python3 - "$work" <<'END'
import struct, sys
def index(name, lengths, pointers, documents, tokens):
    header = b'MMIDIDX\0\0' + struct.pack('<QBQQ', 1, 8, len(lengths), len(documents))
    columns = struct.pack(f'<{len(lengths)}i{len(pointers)}q{len(documents)}q', *lengths, *pointers, *documents)
    open(f'{sys.argv[1]}/{name}.idx', 'wb').write(header + columns)
    open(f'{sys.argv[1]}/{name}.bin', 'wb').write(bytes(2 * tokens))
index('good', [300, 300], [0, 600], [0, 1, 2], 600)
index('swapped', [300, 300], [600, 0], [0, 1, 2], 600)
index('past', [300, 300], [0, 60000], [0, 1, 2], 600)
index('negative', [900, -300], [0, 1800], [0, 1, 2], 600)
index('cut', [300, 300], [0], [], 600)
open(f'{sys.argv[1]}/llama.bin', 'wb').write(struct.pack('<2000I', *(i * 64 % 128256 for i in range(2000))))
open(f'{sys.argv[1]}/gpt.bin', 'wb').write(struct.pack('<2000I', *(i * 8 % 256 for i in range(2000))))
END
recognises good 'good.bin \(uint16\), 600 tokens' step good.bin
trains index-out-of-order 'swapped.idx: sequence 0 starts at byte 600, those before it end at 0; fix' --data "$work/swapped.bin" --steps 1
trains index-past-the-file 'past.idx: sequence 1 starts at byte 60000, those before it end at 600; fix' --data "$work/past.bin" --steps 1
trains index-negative-length 'negative.idx: sequence 1 has the length -300; fix' --data "$work/negative.bin" --steps 1
trains index-cut-off 'cut.idx: the index is cut off after' --data "$work/cut.bin" --steps 1
trains index-of-another-type 'says that the tokens are uint16, --token-type says uint32' --data "$work/good.bin" --token-type uint32
trains uint32-for-a-small-vocab 'llama.bin: its first tokens look like uint32 up to 127936, outside the model.s vocab 256' \
  --data "$work/llama.bin"
recognises uint32 'gpt.bin \(uint32\), 2000 tokens' step gpt.bin
# A vocab beyond uint16 reads uint32, and asks where that is not certain.
sed 's/vocab 256/vocab 128256/; s/depth 8/depth 1/; s/hidden 128/hidden 8/; s/"AF"/"F"/; s/width = 512/width = 8/; s/nce 256/nce 16/' \
  "$models/dense-tiny.mlir" >"$work/wide.mlir"
"$bin/megacc" "$work/wide.mlir" -o "$work/wide.so" || exit 1
recognises uint32-of-a-large-vocab 'llama.bin \(uint32\), 2000 tokens' wide llama.bin
python3 -c "import sys; sys.stdout.buffer.write(bytes((7 * i + i // 256) % 256 for i in range(4000)))" >"$work/narrow.bin"
refuses uint16-for-a-large-vocab "$work/o" 'a vocab of 128256 does not fit into uint16.*fix: --token-type uint16 or uint32' \
  "$bin/megacc-run" "$work/wide.so" --data "$work/narrow.bin" --steps 1 --out "$work/o"
# Several token files are shards.
mkdir "$work/shards"; cp "$work/good.bin" "$work/good.idx" "$work/gpt.bin" "$work/shards"
recognises shards 'shards \(2 token files of uint16, uint32\), 2600 tokens' step shards
trains several-missing-paths 'none: there is no such.*' --data "$work/none" "$work/nor-this" --steps 1
grep -q 'nor-this: there is no such' "$work/log" || fail "only one of two missing paths was named"
for i in {0..8}; do cp "$models/nam56r.mlir" "$work/short-eighth/$i"; done
head -c 28 "$models/nam56r.mlir" >"$work/short-eighth/7"
trains short-held-out-part \
  'the held-out part of .*short-eighth \(the file .*/7\) has 28 tokens, a sample of sequence 256 needs 257; fix: .*--eval-data' \
  --data "$work/short-eighth" --steps 1

# Files of tensors that no writer makes.
python3 - "$work" <<'END'
import json, struct, sys
def make(name, entries, size, header=None):
    text = (header or json.dumps(entries)).encode()
    open(f'{sys.argv[1]}/{name}.safetensors', 'wb').write(struct.pack('<Q', len(text)) + text + bytes(size))
def tensor(begin, end, **more): return dict(dtype='F32', shape=[(end - begin) // 4], data_offsets=[begin, end], **more)
make('overlap', dict(a=tensor(0, 8), b=tensor(4, 12)), 12)
make('gap', dict(a=tensor(0, 8), b=tensor(12, 16)), 16)
make('fraction', dict(a=dict(dtype='F32', shape=[2], data_offsets=[0, 8.5])), 8)
make('twice', None, 16, '{"a":%s,"a":%s}' % (json.dumps(tensor(0, 8)), json.dumps(tensor(8, 16))))
make('half', dict(a=dict(dtype='F16', shape=[4], data_offsets=[0, 8])), 8)
with open(f'{sys.argv[1]}/huge.safetensors', 'wb') as file:
    file.write(struct.pack('<Q', 3 << 30)); file.truncate((3 << 30) + 8)
END
while IFS='|' read -r kind words; do
  trains "tensors-$kind" "$words" --data "$models" --steps 1 --init "$work/$kind.safetensors"
  refuses "case-$kind" "$work/o" "$words" "$bin/megacc-run" "$work/step.so" --case "$work/$kind.safetensors" --dump "$work/o"
done <<'END'
overlap|'b' starts at byte 4, the tensors before it end at 8: they overlap
gap|'b' starts at byte 12, the tensors before it end at 8: there is a gap
fraction|has a damaged entry 'a'
twice|has a damaged header
half|'a' has dtype F16; known are
huge|its header has 3221225472 bytes, at most 100000000 are allowed
END
mkfifo "$work/fifo"
trains tensors-from-a-pipe 'cannot open: it is not a file' --data "$models" --steps 1 --init "$work/fifo"
refuses dump-to-a-device "$work/o" '/dev/null: is not a file that can be replaced' \
  "$bin/megacc-run" "$work/step.so" --print-initial /dev/null
[ -c /dev/null ] || fail '/dev/null was replaced'

# Flags that would mean nothing, or something else.
sed -E 's/, schedule = cosine<.*>>/>/' "$models/dense-tiny.mlir" >"$work/constant.mlir"
"$bin/megacc" "$work/constant.mlir" -o "$work/constant.so" || exit 1
refuses warmup-of-a-constant-schedule "$work/o" '--warmup 5: the declared schedule is constant, which has no warm-up; fix' \
  "$bin/megacc-run" "$work/constant.so" --data "$models" --steps 9 --warmup 5 --out "$work/o"
trains warmup-longer-than-the-run 'the warm-up of 9 steps is longer than the run of 8.*fix: --warmup of at most 8' \
  --data "$models" --steps 8 --warmup 9
trains rising-rate 'the learning rate would rise, from its peak 1e-05 \(--lr\) to 0.0003.*fix: --lr of at least 0.0003' \
  --data "$models" --lr 1e-5
for rate in 1e300 1e-60; do trains "rate-$rate" '--lr must be a finite number above 0' --data "$models" --lr $rate; done
for flag in steps=0 warmup=-1 threads=0 threads=100000 keep=0 eval-every=-3 checkpoint-every=0 steps=9223372036854775807; do
  trains "flag-$flag" "--${flag%%=*}: Value ${flag#*=} not in range [0-9]+ to [0-9]+" --data "$models" "--$flag"
done
trains training-flags-beside-sample '--steps does not go with --sample' --sample 5 --prompt a --resume "$work/good-run" --steps 5
grep -q 'error: --out does not go with --sample' "$work/log" || fail 'not every flag beside --sample was named'
refuses data-beside-case "$work/o" '--data does not go with --case' \
  "$bin/megacc-run" "$work/step.so" --case x --dump "$work/o" --data "$models"
refuses two-things-at-once "$work/o" '--case and --sample are different things to do' \
  "$bin/megacc-run" "$work/step.so" --case x --dump "$work/o" --sample 5 --prompt a --resume "$work/good-run"
exit $status
