"""plan_json.py PLAN TEXT RT DECISIONS: the JSON of a plan, the text of the same plan and the launches have the same numbers."""
import json
import re
import sys

plan, text, launches, decisions = (open(path).read() for path in sys.argv[1:])
plan = json.loads(plan)
assert list(plan)[:7] == ["step_ms", "total_bytes", "budget_bytes", "minimum_bytes", "gap", "bound_ms", "solve_ms"], list(plan)


def said(pattern, source=text):
    return re.search(pattern, source, re.M).groups()


def size(number, unit):
    return float(number) * 1024 ** ["", "Ki", "Mi", "Gi", "Ti"].index(unit)


def near(number, value):  # printed with three digits behind the point
    assert abs(number - value) <= 6e-4 * max(1, abs(value)), (number, value)


near(float(said(r"a step takes at least ([0-9.]+) ms")[0]), plan["step_ms"])
near(size(*said(r"^  total +([0-9.]+) (\w*)B$")), plan["total_bytes"])
near(size(*said(r"of a budget of ([0-9.]+) (\w*)B")), plan["budget_bytes"])
near(size(*said(r"the smallest plan needs ([0-9.]+) (\w*)B;")), plan["minimum_bytes"])
assert plan["minimum_bytes"] <= plan["budget_bytes"] and plan["total_bytes"] <= plan["budget_bytes"]
assert 0 <= plan["gap"] < 1 and abs((plan["step_ms"] - plan["bound_ms"]) / plan["step_ms"] - plan["gap"]) < 1e-9
assert said(r"blocks, ([0-9,]+) parameters, ([0-9,]+) active") == tuple(f"{plan['parameters'][key]:,}" for key in ("total", "active"))

# Sums.
step = plan["accumulate"] * plan["ms"]["total"] + plan["times"]["update_ms"]
assert abs(step - plan["step_ms"]) < 1e-9 * step
for key in ("total", "forward", "backward", "again"):
    assert abs(sum(row["ms"][key] for row in plan["families"]) - plan["ms"][key]) < 1e-9 * step
    inside = sum(len(row["slots"]) * row["ms"][key] for row in plan["blocks"])
    assert abs(inside + plan["families"][-1]["ms"][key] - plan["ms"][key]) < 1e-9 * step
assert abs(sum(kernel["ms"] for kernel in plan["kernels"]) - step) < 1e-9 * step
assert sum(kernel["bytes"] for kernel in plan["kernels"]) == plan["traffic"]["moved"]
assert sorted(slot for row in plan["blocks"] for slot in row["slots"]) == list(range(plan["depth"]))
assert sum(plan["bytes"].values()) == plan["total_bytes"]

# The launches.
segments = dict((name, int(count)) for name, count in re.findall(r'rt.segment "(\w+)" bytes (\d+)', launches))
assert {name: count for name, count in segments.items() if count} == {name: count for name, count in plan["bytes"].items() if count}
functions = dict(re.findall(r"rt\.func @(\w+) \{\n(.*?)\n  \}", launches, re.S))
calls = {name: [line for line in body.split("\n") if "rt.call" in line] for name, body in functions.items()}
timeline = plan["timeline"]
assert timeline["update"] == len(calls["micro_batch"]) and timeline["count"] == timeline["update"] + len(calls["update"])
again = sum("recompute" in call for call in calls["micro_batch"])
chosen = [decision for decision in plan["decisions"] if decision["choice"] == "computed again"]
assert 0 < again <= sum(int(decision["reason"].split()[0]) for decision in chosen), again  # a group is one launch
alive = [sum(points) for points in zip(*timeline["classes"].values())]
assert max(alive[i] for i, launch in enumerate(timeline["launches"]) if launch < timeline["update"]) == plan["peak"]["bytes"]
assert sum(timeline["classes"]["again"]) > 0 and plan["again_bytes"] > 0
assert timeline["state"] + plan["bytes"]["temporaries"] == plan["total_bytes"]
peak = plan["peak"]
assert sum(row["count"] * row["bytes"] for row in peak["values"]) <= peak["bytes"] <= peak["live_bytes"] <= plan["bytes"]["temporaries"]

# Decisions, and budgets from all that is kept down.
assert json.loads(decisions) == plan["decisions"] and len(plan["decisions"]) > 3
for decision in plan["decisions"][1:]:
    assert {decision["choice"], decision["alternatives"][0]["choice"]} == {"kept", "computed again"}, decision
assert [row["bytes"] for row in plan["budgets"]] == sorted((row["bytes"] for row in plan["budgets"]), reverse=True)
assert [row["step_ms"] for row in plan["budgets"]] == sorted(row["step_ms"] for row in plan["budgets"])
assert plan["budgets"][-1]["bytes"] < plan["budgets"][0]["bytes"]
