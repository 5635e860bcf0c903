"""inspect.py STEP JSON HASH: the JSON of megacc inspect is of this file and has the whole descriptor."""
import json
import os
import sys

step, text, digits = sys.argv[1:]
about = json.load(open(text))
assert about["file"] == step, about["file"]
assert about["bytes"] == os.path.getsize(step), about["bytes"]
assert about["hash"] == open(digits).read(), about["hash"]
image = open(step, "rb").read()
begin = image.index(b'{"abi"')
written = json.loads(image[begin : image.index(b"\0", begin)])
assert json.dumps(about["descriptor"]) == json.dumps(written), "not the descriptor of the file"
assert sorted(row["slot"] for row in written["receipt"]) == list(range(-1, 8)), "the receipt has not a row a slot"
