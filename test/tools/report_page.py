#!/usr/bin/env python3
"""report_page.py BIN MODELS: the page of --report in headless Chromium, in light and dark and as wide as a phone: no errors, no requests,
nothing wider than the window, and its figures are those of the JSON. Skipped where there is no Chromium."""
import json
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

binaries, models = Path(sys.argv[1]), Path(sys.argv[2])
browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
if not browser:
    print("skipped: there is no chromium here")
    sys.exit(77)


class Reader(HTMLParser):
    """Figures by key, rows of tables by the heading before them, and how often each tag and class is there."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.figures, self.tables, self.counts, self.text = {}, {}, {}, None
        self.heading = self.key = ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for mark in (tag, f"{tag}.{attributes.get('class')}"):
            self.counts[mark] = self.counts.get(mark, 0) + 1
        self.key = attributes.get("data-key", "")
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])
        if tag in ("td", "th", "h1", "h2", "dd"):
            self.text = ""

    def handle_data(self, data):
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag):
        if tag in ("h1", "h2"):
            self.heading = self.text
        elif tag == "dd" and self.key:
            self.figures[self.key] = self.text
        elif tag in ("td", "th"):
            self.tables[self.heading][-1].append(self.text)
        else:
            return
        self.text = None


def scaled(value, base, prefixes, unit):
    at = 0
    while value >= base and at + 1 < len(prefixes):
        value, at = value / base, at + 1
    return f"{value:.3f} {prefixes[at]}{unit}"


def size(value):
    return scaled(value, 1024, ["", "Ki", "Mi", "Gi", "Ti"], "B")


def same(shown, expected, what):
    """The last digit may be rounded the other way."""
    number = re.compile(r"-?[0-9][0-9,]*\.?[0-9]*")
    a, b = (number.match(text) for text in (shown, expected))
    assert a and b and shown[a.end():] == expected[b.end():], (what, shown, expected)
    digits = len(b[0].partition(".")[2])
    difference = abs(float(a[0].replace(",", "")) - float(b[0].replace(",", "")))
    assert difference < 1.5 * 10**-digits * bool(digits) + 1e-9, (what, shown, expected)


def check_figures(page, plan):
    for key, text in page.figures.items():
        value = plan
        for part in key.split("."):
            value = value[part] if part in value else plan["times"][part]
        expected = (size(value) if key.endswith("_bytes") else f"{value:.2f} ms" if key.endswith("_ms") else
                    f"{100 * value:.2f} %" if key == "gap" else f"{value:,}" if key.startswith("parameters") else
                    scaled(value, 1000, ["", "K", "M", "G", "T"], "FLOP"))
        same(text, expected, key)
    keys = {"step_ms", "total_bytes", "budget_bytes", "minimum_bytes", "gap"}
    assert {key for key in keys if plan[key] is not None} <= set(page.figures), page.figures


def check_tables(page, plan):
    def rows(heading):
        table = page.tables.get(heading, [[]])
        return [dict(zip(table[0], row)) for row in table[1:]]

    slots = {slot: row for row in plan["blocks"] for slot in row["slots"]}
    assert len(rows("Slots")) == len(slots) == plan["depth"]
    for row in rows("Slots"):
        block = slots[int(row["slot"])]
        same(row["parameters"], f"{block['parameters']['total']:,}", row)
        assert row["family"] == " + ".join([block["family"], *block["features"]]), row
        if plan["step_ms"] is None:
            continue
        same(row["ms"], f"{block['ms']['total']:.2f}", row)
        same(row["kept"], size(block["kept_bytes"]), row)
        again = {decision["value"] for decision in plan["decisions"]
                 if decision["choice"] == "computed again" and block["slots"][0] in decision["slots"]}
        assert set(filter(None, row.get("computed again", "").split(", "))) == again, row
    assert [row["family"] for row in rows("Families")] == [row["family"] for row in plan["families"]]
    for row, segment in zip(rows("Bytes"), plan["bytes"].items(), strict=True):
        assert row["segment"] == segment[0]
        same(row["bytes"], size(segment[1]), row)
    assert len(rows("Decisions")) == len(plan["decisions"])
    for row, decision in zip(rows("Decisions"), plan["decisions"]):
        assert row["what"].endswith(decision["value"]) and row["choice"].startswith(decision["choice"]) and row["why"] == decision["reason"]
    for row, budget in zip(rows("Step time against memory"), plan["budgets"], strict=True):
        same(row["memory"], size(budget["bytes"]), row)
        same(row["a step"], f"{budget['step_ms']:.2f} ms", row)
    for row, value in zip(rows("Largest at the peak"), plan["peak"]["values"] if "peak" in plan else [], strict=True):
        same(row["bytes of one"], size(value["bytes"]), row)
        assert int(row["tensors"]) == value["count"]
    assert len(rows("Kernels")) == len(plan["kernels"])
    assert ("Mesh" in page.tables) == ("mesh" in plan)
    # A field for each slot; the stacked classes and the curve.
    assert sum(count for mark, count in page.counts.items() if mark in ("span.chip",)) == plan["depth"]
    assert page.counts.get("path", 0) == (len(plan["timeline"]["classes"]) if "timeline" in plan else 0) + bool(plan["budgets"])


def browse(work, path, *flags):
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={work}/profile",
               "--enable-logging=stderr", "--virtual-time-budget=5000", *flags, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line or "net_error" in line]
    assert not errors, errors
    return done.stdout


def check(work, name, *flags):
    path, text = work / f"{name}.html", work / f"{name}.json"
    command = [binaries / "megacc", *flags, "--emit=plan", "--json", f"--report={path}", "-o", text]
    subprocess.run(command, check=True)
    written, plan = path.read_text(), json.loads(text.read_text())
    outside = re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#)|url\(|@import|fetch\(|XMLHttpRequest""", written)
    assert not outside and re.findall(r"https?://[^\"]*", written) == ["http://www.w3.org/2000/svg"], outside  # a name, not an address
    embedded = re.search(r'<script type="application/json" id="plan">(.*?)</script>', written, re.S)[1]
    assert json.loads(embedded) == plan
    for window in (["--window-size=1200,900"], ["--window-size=1200,900", "--blink-settings=preferredColorScheme=0"],
                   ["--window-size=500,900"]):
        page = Reader()
        page.feed(browse(work, path, *window))
        assert page.tables, f"{name}: the page is empty"
        check_figures(page, plan)
        check_tables(page, plan)
    # Nothing but tables, which scroll inside their frames, is wider than a phone.
    probe = work / "probe.html"
    probe.write_text(written.replace("</body>", "<script>document.body.dataset.wide = "
                                     "document.documentElement.scrollWidth > document.documentElement.clientWidth</script></body>"))
    assert 'data-wide="false"' in browse(work, probe, "--window-size=500,900"), f"{name}: wider than a phone"


with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    check(work, "hybrid", models / "nam56r-tiny.mlir", "--memory=120MiB", "--pareto")
    check(work, "free", models / "dense-tiny.mlir")
    for axis in ("ep", "tp"):  # one that is not supported yet, and one that is
        mesh = work / f"{axis}.mlir"
        mesh.write_text((models / "dense-tiny.mlir").read_text().replace("clip = 1.0", f"clip = 1.0, mesh = <{axis} = 2>"))
        check(work, axis, mesh)
