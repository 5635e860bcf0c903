#!/usr/bin/env bash
# optimizers.sh BIN: runs with Muon and with moments in bf16 go on to the same bits, at any number of threads; what a checkpoint of another
# optimizer or type of moments means.
set -u
bin=$1 here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
. "$here/refuses.sh"
. "$here/small_model.sh"

while IFS='|' read -r name training; do
  compile "$name" "$training"
  run "$work/$name.so" --steps 6 --out "$work/$name" --verify --threads 1
  run "$work/$name.so" --steps 3 --out "$work/$name-half" --threads 2
  run "$work/$name.so" --steps 6 --resume "$work/$name-half"
  same "$work/$name" "$work/$name-half" "$name, resumed"
  cp "$work/$name/checkpoint.safetensors" "$work/$name.kept"
done <<'END'
adamw|optimizer = adamw<lr = 1.0e-3>
adamw-bf16|moments = bf16, optimizer = adamw<lr = 1.0e-3>
muon|optimizer = muon<lr = 1.0e-3>
muon-heads-bf16|moments = bf16, optimizer = muon<lr = 1.0e-3, split = heads>
END

# Another type of moments is legal and said; another optimizer is refused.
run "$work/adamw-bf16.so" --steps 7 --resume "$work/adamw" --out "$work/narrowed"
grep -q 'moments in fp32, this run keeps them in bf16: they were rounded to nearest even, once' "$work/log" || fail 'narrowing is not said'
run "$work/adamw.so" --steps 7 --resume "$work/adamw-bf16" --out "$work/widened"
grep -q 'moments in bf16, this run keeps them in fp32: they were widened, which is exact' "$work/log" || fail 'widening is not said'
refuses 'a checkpoint of AdamW for Muon' "'train/optimizer/kind' is absent in the checkpoint and muon in the step.so" \
  "$bin/megacc-run" "$work/muon.so" --data "$work/text" --steps 7 --resume "$work/adamw"
refuses 'a checkpoint of Muon for AdamW' "'train/optimizer/kind' is muon in the checkpoint and absent in the step.so" \
  "$bin/megacc-run" "$work/adamw.so" --data "$work/text" --steps 7 --resume "$work/muon"

# What is stored: no second moment of a matrix under Muon, and the type of the others.
/usr/bin/python3 - "$work" <<'END' || fail 'a checkpoint has other tensors'
import json, struct, sys
def header(name):
    with open(f"{sys.argv[1]}/{name}.kept", "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
matrix, norm = "blocks.0.mixer.qkv_proj.weight", "blocks.0.norm.weight"
for name, dtype, is_muon in (("adamw", "F32", 0), ("adamw-bf16", "BF16", 0), ("muon", "F32", 1), ("muon-heads-bf16", "BF16", 1)):
    tensors = header(name)
    assert tensors["optimizer.m." + matrix]["dtype"] == tensors["optimizer.v." + norm]["dtype"] == dtype, name
    assert ("optimizer.v." + matrix in tensors) == (not is_muon), name
    assert "optimizer.v.embedding.weight" in tensors and tensors[matrix]["dtype"] == "F32", name
END
exit $status
