"""Kills, faults of the system, damaged inputs, hostile files and load: the figures of docs/reliability.md.

python benchmarks/reliability.py --out DIR                           # all of it, under an hour on two free cores
python benchmarks/reliability.py --out DIR --share 0.1               # a tenth of it, in minutes
python benchmarks/reliability.py --out DIR --parts kills,hostile     # parts; those that DIR has are not repeated
python benchmarks/reliability.py --out DIR --page docs/reliability.md   # also write the figures into the page
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from doc_section import replace_section
from reliability_data import Place, prepare
from reliability_faults import measure_faults
from reliability_hostile import measure_hostile
from reliability_inputs import measure_inputs
from reliability_kills import measure_kills
from reliability_load import measure_load

import effiseg.evaluation.evaluator
import effiseg.prediction.predict
import effiseg.runs  # noqa: F401 - what commands import, before they are forked
from effiseg.environment import describe_environment
from effiseg.files import read_json, write_json

KILLS, INPUTS, PICTURES, LISTED = 100, 600, 10_000, 100_000
"""How many of each, where all is measured."""
PARTS = ("hostile", "faults", "kills", "inputs", "load")


def main(argv: list[str] | None = None) -> int:
    """Measure the parts that the folder lacks, write reliability.json and print the table; 1 if a promise is broken."""
    options = _parse(argv)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="effiseg-reliability-", dir=options.scratch) as folder:
        place = prepare(Path(folder))
        for part in options.parts:
            file = options.out / f"{part}.json"
            if not file.is_file():
                print(f"{part} …", file=sys.stderr, flush=True)
                started = time.monotonic()
                found = _measure(part, place, options.share)
                write_json(file, {"seconds": time.monotonic() - started, "share": options.share, **found})
    parts = {
        part: read_json(options.out / f"{part}.json") for part in PARTS if (options.out / f"{part}.json").is_file()
    }
    rows = table(parts)
    broken = broken_promises(parts)
    command = "python benchmarks/reliability.py " + " ".join(sys.argv[1:] if argv is None else argv)
    result = {"command": command, "environment": describe_environment(), "parts": parts, "broken": broken}
    write_json(options.out / "reliability.json", result)
    print("\n".join(rows))
    print("\n".join(f"broken: {each}" for each in broken) or "no promise is broken")
    if options.page is not None:
        replace_section(options.page, "reliability", "\n".join(rows) + "\n")
    return 1 if broken else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, one JSON file a part")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--share", type=float, default=1.0, help="share of the kills, inputs, pictures and files")
    parser.add_argument("--scratch", type=Path, default=None, help="where the scratch folder is made")
    parser.add_argument("--page", type=Path, default=None, help="page that gets the table between its marks")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts has {', '.join(PARTS)}; found {', '.join(sorted(unknown))}")
    if not 0 < options.share <= 1:
        parser.error(f"--share must be greater than 0 and at most 1; found {options.share}")
    return options


def _measure(part: str, place: Place, share: float) -> dict[str, Any]:
    def some(number: int) -> int:
        return max(8, round(share * number))

    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "hostile": lambda: measure_hostile(place),
        "faults": lambda: measure_faults(place),
        "kills": lambda: measure_kills(place, some(KILLS)),
        "inputs": lambda: measure_inputs(place, some(INPUTS)),
        "load": lambda: measure_load(place, some(PICTURES), some(LISTED)),
    }
    return measures[part]()


def table(parts: dict[str, Any]) -> list[str]:
    """What was tried and what came of it, as Markdown."""
    rows = ["| tried | how often | outcome |", "| --- | ---: | --- |"]
    for name, kills in parts.get("kills", {}).items():
        if isinstance(kills, dict):
            rows.append(
                f"| kills of `{name}` (SIGKILL, SIGTERM, SIGINT, at random moments) | {kills['kills']} | "
                f"{kills['runs']} ends, {kills['runs'] - kills['not_equal']} equal to that of a run that was never "
                f"stopped, bit for bit; {kills['leftovers']} partial files left |"
            )
    if faults := parts.get("faults"):
        rows.append(
            f"| faults of the system: disk full, path under a file, name too long, folder in the way, no device | "
            f"{faults['cases']} | {faults['cases'] - len(faults['others'])} with exit code 2 and no traceback, "
            f"{faults['one_line']} of them in one line; {faults['leftovers']} partial files left |"
        )
    if inputs := parts.get("inputs"):
        codes = ", ".join(f"{number} × {code}" for code, number in inputs["codes"].items())
        rows.append(
            f"| damaged files of {inputs['kinds']} kinds | {inputs['inputs']} | exit codes: {codes}; "
            f"{len(inputs['faults'])} tracebacks, hangs or signals; at most {inputs['most_seconds']:.0f} s and "
            f"{inputs['most_mb']:.0f} MB |"
        )
    if hostile := parts.get("hostile"):
        rows.append(
            f"| hostile files | {hostile['files']} | {hostile['refused']} refused or harmless, {hostile['ran']} ran "
            f"something; at most {hostile['most_seconds']:.0f} s and {hostile['most_mb']:.0f} MB |"
        )
    if load := parts.get("load"):
        for name, memory in load["memory"].items():
            rows.append(
                f"| `{name}`: memory | {load['pictures']} pictures | {memory['begun_mb']:.0f} MB after 30 % of the "
                f"time, {memory['growth_mb']:+.0f} MB at most after that ({memory['seconds']:.0f} s) |"
            )
        listed = load["listed"]
        rows.append(
            f"| `data stats` of a list | {listed['files']} files | {listed['seconds']:.0f} s, "
            f"{listed['growth_mb']:.0f} MB |"
        )
    return rows


def broken_promises(parts: dict[str, Any]) -> list[str]:
    """What docs/reliability.md promises and the figures contradict."""
    found: list[str] = []
    for name, kills in parts.get("kills", {}).items():
        if isinstance(kills, dict) and (kills["not_equal"] or kills["faults"] or kills["leftovers"]):
            found.append(f"kills of {name}: {kills}")
    found += [f"fault: {each}" for each in parts.get("faults", {}).get("others", [])]
    found += [f"input: {each}" for each in parts.get("inputs", {}).get("faults", [])]
    found += [f"hostile: {each}" for each in parts.get("hostile", {}).get("others", [])]
    if parts.get("hostile", {}).get("ran"):
        found.append("hostile: something ran")
    for name, memory in parts.get("load", {}).get("memory", {}).items():
        if memory["growth_mb"] > 0.1 * memory["begun_mb"]:
            found.append(f"load: memory of {name} grows: {memory}")
    return found


if __name__ == "__main__":
    sys.exit(main())
