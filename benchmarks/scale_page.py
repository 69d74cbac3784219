"""The end of docs/scale.md: what was measured, and what millions of pictures cost, computed from results/scale.json.

python benchmarks/scale_page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doc_section import replace_section

from effiseg.files import read_json

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
NAME = "scale_page"
CORE_HOUR = 0.04
"""Price of a core for an hour, dollars: an assumption, about that of a virtual core in large clouds."""
GIGABYTE_MONTH = 0.023
"""Price of 10⁹ bytes for a month in an object store, dollars: an assumption too."""
MILLION_WRITES = 5.0
"""Price of 10⁶ requests that write to an object store, dollars: an assumption too."""
LAKES = {"10 million": 10**7, "1 billion": 10**9}
PART = 256
"""Pictures of a part (`ray_part`), which as a shard or table is written once, and its record once."""
UNKNOWN = "Nothing was measured yet."


@dataclass(frozen=True)
class Cost:
    """Cost of working on pictures once."""

    core_hours: float
    dollars: float


@dataclass(frozen=True)
class Storage:
    """Room that pictures and their labels take, and dollars for it."""

    picture_gigabytes: float
    label_gigabytes: float
    month: float
    """Of both."""
    writes_as_files: float
    """A label file each."""
    writes_as_parts: float
    """A shard or table, and a record, for each `PART` pictures."""


def cost_of(pictures: int, per_core: float) -> Cost:
    """The cost of so many pictures at a rate of pictures a core-second."""
    hours = pictures / per_core / 3600
    return Cost(hours, hours * CORE_HOUR)


def one_after_the_other(*rates: float) -> float:
    """The rate of pictures that a core works on in several ways, each at a rate of its own."""
    return 1 / sum(1 / rate for rate in rates)


def storage_of(pictures: int, picture_bytes: float, label_bytes: float) -> Storage:
    """What so many pictures and their labels take in an object store."""
    taken, made = (pictures * size / 1e9 for size in (picture_bytes, label_bytes))
    writes = (pictures, 2 * pictures / PART)
    return Storage(taken, made, (taken + made) * GIGABYTE_MONTH, *(MILLION_WRITES * each / 1e6 for each in writes))


def main() -> None:
    """Compute the section anew."""
    write_page()
    print(f"written to {PAGE}")


def write_page() -> None:
    """Compute the section of the page anew from the results file."""
    replace_section(PAGE, NAME, markdown(results()))


def results() -> dict[str, Any]:
    """All that was measured so far."""
    return dict(read_json(RESULTS)) if RESULTS.is_file() else {"parts": {}}


def markdown(result: Mapping[str, Any]) -> str:
    """Rates, and what follows from them; of parts that were not measured, nothing."""
    parts = result["parts"]
    if not parts:
        return f"\n{UNKNOWN}\n\n"
    where = result["environment"]
    loads = ", ".join(f"{name} {part['load']:.1f}" for name, part in parts.items())
    lines = [
        "",
        f"{where['cpu']}, {where['cores']} cores, torch {where['packages']['torch']}; load of the machine before each "
        f"part: {loads}. `{result['command']}`",
    ]
    sections = (("reading", _reading), ("labelling", _labelling), ("actors", _actors), ("memory", _memory))
    for name, section in sections:
        if name in parts:
            lines += ["", *section(result["settings"], parts[name])]
    if {"reading", "labelling", "distilling"} <= parts.keys():
        lines += ["", "### Costs", "", *_costs(result["settings"], parts)]
    return "\n".join(lines) + "\n\n"


def _size(settings: Mapping[str, Any]) -> str:
    return "×".join(map(str, settings["image_size"]))


def _reading(settings: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"**Shards against files.** Decoding and augmentation (`standard`, {_size(settings)}) in one process, "
        f"{part['images']} images of {part['bytes'] / 1e3:.0f} kB with their masks, files in memory, in turns:"
    )
    yield from ("", "| from | images/s/core | least to most |", "|---|---:|---:|")
    for name, rate in part["per_core"].items():
        least, most = part["spread"][name]
        yield f"| {name} | {rate:.1f} | {least:.1f}–{most:.1f} |"


def _labelling(settings: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    rates = ", ".join(f"{rate:.1f} with {batch} a pass" for batch, rate in part["per_core"].items())
    yield (
        f"**Labelling without a cluster.** {settings['variant']} at {_size(settings)}, torch, one thread for the "
        f"network, pictures decoded and label PNGs written, {settings['pictures']} pictures: images/s/core {rates}."
    )


def _actors(settings: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"**Actors.** The same {settings['pictures']} pictures on a Ray cluster of this machine, a core for each "
        "actor; images/s are of the actors while they work, seconds from the command's start to its end:"
    )
    yield from ("", "| actors | images/s/core | images/s | seconds |", "|---|---:|---:|---:|")
    for actors, row in part.items():
        if actors.isdecimal():
            yield f"| {actors} | {row['per_core']:.1f} | {row['images_per_second']:.1f} | {row['seconds']:.0f} |"
    yield ""
    yield f"2 actors label {part['2']['images_per_second'] / part['1']['images_per_second']:.2f} times as fast as 1."


def _memory(settings: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[str]:
    before, after = part["at_a_third"], part["at_the_end"]
    looks = (
        f"{each['bytes'] / 2**20:.0f} MiB between pictures {each['pictures'][0]} and {each['pictures'][1]}"
        for each in (before, after)
    )
    yield (
        f"**Memory.** {part['pictures']} pictures, two actors, an object store of at most "
        f"{part['object_store_bytes'] / 2**30:g} GiB: {', '.join(looks)}, "
        f"{100 * (after['bytes'] / before['bytes'] - 1):+.1f} %. It is the median of what the driver, Ray's own "
        "processes and the actors hold, shared pages counted in parts."
    )


def _costs(settings: Mapping[str, Any], parts: Mapping[str, Any]) -> Iterator[str]:
    labelling, step = parts["labelling"], parts["distilling"]["per_core"]
    rate, picture, label = max(labelling["per_core"].values()), labelling["picture_bytes"], labelling["label_bytes"]
    decode = parts["reading"]["per_core"]["shards"]
    distilling = one_after_the_other(step, decode)
    yield (
        f"At ${CORE_HOUR} a core-hour, ${GIGABYTE_MONTH} a GB and month and ${MILLION_WRITES:g} a million writes, "
        f"which are assumptions. Labelling at {rate:.1f} images/s/core, pictures of {picture / 1e3:.0f} kB, labels of "
        f"{label / 1e3:.1f} kB; distillation from pictures without labels, {settings['teacher']} to "
        f"{settings['variant']} at {_size(settings)}, {distilling:.2f} images/s/core (decoding {decode:.1f}, forward, "
        f"backward and step {step:.2f}), each picture shown once:"
    )
    yield from (
        "",
        "| pictures | work | core-hours | days on 1,000 cores | computing $ |",
        "|---|---|---:|---:|---:|",
    )
    for name, pictures in LAKES.items():
        for work, speed in (("labelling", rate), ("distillation", distilling)):
            cost = cost_of(pictures, speed)
            days = cost.core_hours / 24_000
            yield f"| {name} | {work} | {cost.core_hours:,.0f} | {days:,.2f} | {cost.dollars:,.0f} |"
    yield from (
        "",
        "| pictures | pictures GB | labels GB | a month of both $ | writes as files $ | writes as parts $ |",
        "|---|---:|---:|---:|---:|---:|",
    )
    for name, pictures in LAKES.items():
        room = storage_of(pictures, picture, label)
        yield (
            f"| {name} | {room.picture_gigabytes:,.0f} | {room.label_gigabytes:,.0f} | {room.month:,.0f} | "
            f"{room.writes_as_files:,.2f} | {room.writes_as_parts:,.2f} |"
        )
    yield ""
    yield from _advice(rate, step, decode, picture)


def _advice(rate: float, step: float, decode: float, picture: float) -> Iterator[str]:
    """Where the bottleneck lies, and what changes it."""
    yield (
        f"**Where the bottleneck lies.** A core decodes and varies {decode:.1f} images/s, labels {rate:.1f} (decoding "
        f"and writing counted) and distils {step:.2f}. Decoding is {100 * step / (step + decode):.0f} % of the work of "
        "distillation: where the network takes most of it, a faster engine, int8, a smaller network or a smaller input "
        f"lower the cost, and caches or formats do not. A GPU that does G images/s needs G / {decode:.0f} cores that "
        "decode, and waits with fewer. No GPU was measured, so no price of one is given."
    )
    yield ""
    yield (
        f"**Network.** {rate:.1f} images/s/core read {rate * picture / 1e6:.2f} MB/s: 1,000 cores read "
        f"{rate * picture / 1e3:,.0f} MB/s of an object store."
    )
    yield ""
    yield (
        "**What changes it.** Batch: see the rates above; on GPUs it is to be measured. Cache: `--cache disk` saves "
        "decoding from the second epoch on, and nothing in a single pass. Format: labels as files cost a write each; "
        f"as shards or Parquet a part of {PART} pictures costs two."
    )


if __name__ == "__main__":
    main()
