"""Files of other programs, byte by byte, for the gallery's tables and the seeds of the fuzz targets."""
import json
import struct


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def index(lengths, code=8, width=2, version=1, magic=b"MMIDIDX\0\0"):
    """A Megatron index of sequences of these lengths, each a document; `code` is the type of the tokens and `width` their bytes."""
    pointers = [width * sum(lengths[:i]) for i in range(len(lengths))]
    return b"".join([magic, struct.pack("<QBQQ", version, code, len(lengths), len(lengths) + 1), struct.pack(f"<{len(lengths)}i", *lengths),
                     struct.pack(f"<{len(lengths)}q", *pointers), struct.pack(f"<{len(lengths) + 1}q", *range(len(lengths) + 1))])


def safetensors(header, data=b"", length=None):
    """`header` is an object or the bytes of one; `length` is what the file says of its size."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype, shape, begin, end):
    """An entry of a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
