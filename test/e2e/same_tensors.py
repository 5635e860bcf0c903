"""same_tensors.py A B: two safetensors files have the same tensors, bit by bit, whatever their metadata say."""
import json, sys


def read(path):
    data = open(path, "rb").read()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + length + entry["data_offsets"][0]:8 + length + entry["data_offsets"][1]])
            for name, entry in header.items()}


one, other = read(sys.argv[1]), read(sys.argv[2])
different = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
if different:
    sys.exit(f"different: {', '.join(different[:5])}" + (f" and {len(different) - 5} more" if len(different) > 5 else ""))
