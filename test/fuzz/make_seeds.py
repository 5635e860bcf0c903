#!/usr/bin/env python3
"""make_seeds.py FOLDER: writes the seeds of the fuzz targets, but for the texts in seeds/declaration and seeds/pattern."""
import json
import struct
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e" / "gallery"))
import make  # noqa: E402: it lies in another folder

FOLDER = Path(sys.argv[1])


def write(target, name, content):
    (FOLDER / target).mkdir(parents=True, exist_ok=True)
    (FOLDER / target / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def megatron(lengths, code, width, **others):
    """The size of an index, the index, and its tokens."""
    index = make.index(lengths, code, width, **others)
    return struct.pack("<H", len(index)) + index + b"".join((i * 37 % 251).to_bytes(width, "little") for i in range(sum(lengths)))


def safetensors(tensors, metadata=None):
    """`tensors`: name -> (dtype, shape, bytes)."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = make.tensor(dtype, shape, len(data), len(data) + len(content))
        data += content
    return make.safetensors(header, data)


def descriptor(ranks=1, dtype="f32"):
    """As docs/descriptor.md has it, of one parameter."""
    parameter = {"name": "w", "block": 0, "init": "normal", "init_a": 0.5, "decays": True, "trained": True, "dtype": dtype, "shape": [4, 6],
                 "offset": 0, "gradient": 0, "m": 0, "v": 256}
    if dtype == "bf16":
        parameter["master"] = 512
    if ranks > 1:
        parameter["ranges"] = [[[0, 1], [2, 4]], [[3, 6]]]
    place = {"name": "tokens", "dtype": "i32", "shape": [1, 8], "offset": 0, "stride": 64}
    launch = {"kernel": "mg_copy", "path": "blocks.0/copy", "block": 0, "flops": 0, "bytes": 8}
    return json.dumps({
        "abi": 2, "megacc": "0.1.0", "target": "cpu", "model": "m", "hidden": 6, "vocab": 4, "sequence": 8, "depth": 1, "micro_batch": 1,
        "accumulate": 1, "seed": 0, "mesh": {"dp": ranks, "tp": 1, "ep": 1},
        "optimizer": {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "final": -1, "schedule": "constant", "warmup": 0, "steps": 0},
        "segments": [{"name": name, "bytes": 1024} for name in ("weights", "optimizer", "gradients", "temporaries", "io", "constants")],
        "parameters": [parameter], "inputs": [place], "metrics": [dict(place, name="loss.main", dtype="f32", shape=[1], weight=1.0)],
        "outputs": [dict(place, name="loss_sum", dtype="f32", shape=[1], function="evaluate")],
        "kernels": {"mg_copy": "out:y:any in:x:any | count | "},
        "functions": [{"name": "micro_batch", "symbol": "megacc_micro_batch", "launches": [launch]}],
        "receipt": [{"slot": 0, "letter": "A", "family": "copy", "launches": {"mg_copy": 1}}]}, separators=(",", ":"))


def elf(text, symbol_bytes=48):
    """A shared object with one loaded part, whose symbol megacc_descriptor is the text; `symbol_bytes` is what it says of its symbols."""
    names, header_bytes, part_bytes, section_bytes = b"\0megacc_descriptor\0", 64, 56, 64
    text = text.encode() + b"\0"
    names_at = header_bytes + part_bytes + 2 * section_bytes
    symbols_at, text_at = names_at + len(names), names_at + len(names) + 48
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, header_bytes, header_bytes + part_bytes, 0, 64, 56, 1, 64, 2, 0)
    part = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, text_at + len(text), text_at + len(text), 4096)
    string_section = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    symbol_section = struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, symbols_at, symbol_bytes, 0, 1, 8, 24)
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, text_at, len(text))
    return header + part + string_section + symbol_section + names + symbols + text


write("tokens", "uint16", megatron([5, 3, 8], 8, 2))
write("tokens", "int32", megatron([4, 4], 4, 4))
write("tokens", "uint8", megatron([9], 1, 1))
write("tokens", "empty-sequence", megatron([2, 0, 3], 8, 2))
write("tokens", "float", megatron([4], 6, 4))
write("tokens", "version", megatron([4], 8, 2, version=2))
write("tokens", "magic", megatron([4], 8, 2, magic=b"MMIDIDX\0\1"))
write("tokens", "cut-off", megatron([5, 3, 8], 8, 2)[:40])
write("tokens", "plain", b"\0\0" + struct.pack("<8H", *range(8)))
write("safetensors", "every-type", safetensors({"a": ("F32", [2, 2], bytes(16)), "b": ("BF16", [3], bytes(6)), "c": ("I64", [], bytes(8)),
                                                "d": ("I32", [1], bytes(4)), "e": ("F64", [1], bytes(8))}, {"format": "pt"}))
write("safetensors", "hash", safetensors({"a": ("F32", [1], bytes(4))}, {"xxh3_128": "0" * 32}))
write("safetensors", "nothing", safetensors({}))
write("safetensors", "shape", safetensors({"a": ("F32", [2**31, 2**31, 4], bytes(4))}))
write("safetensors", "type", safetensors({"a": ("F8", [4], bytes(4))}))
write("safetensors", "length", make.safetensors(b"{}", length=2**40))
write("safetensors", "no-object", make.safetensors(b"[]"))
write("descriptor", "whole.json", descriptor())
write("descriptor", "half.json", descriptor(dtype="bf16"))
write("descriptor", "ranges.json", descriptor(ranks=2))
write("descriptor", "abi.json", '{"abi":99}')
write("descriptor", "image", elf(descriptor()))
write("descriptor", "no-descriptor", elf(""))
write("descriptor", "endless-symbols", elf(descriptor(), 2**63).replace(b"megacc_descriptor", b"another_symbol_xx"))
