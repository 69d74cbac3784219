"""The end of docs/scale.md: what millions of pictures cost, computed from measured rates.

python benchmarks/scale_page.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doc_section import replace_section

from effiseg.files import read_json

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
CORE_HOUR = 0.04
"""Price of a core for an hour, dollars: an assumption, about that of a virtual core in large clouds."""
GIGABYTE_MONTH = 0.023
"""Price of 10⁹ bytes for a month in an object store, dollars: an assumption too."""
REQUEST = 5e-6
"""Price of a request that writes to an object store, dollars."""
LAKES = {"10 million": 10**7, "1 billion": 10**9}


def write_page() -> None:
    """Compute the section anew from the results file."""
    replace_section(PAGE, "scale_page", markdown(read_json(RESULTS)))


def markdown(result: Mapping[str, Any]) -> str:
    """Measured rates, and what follows from them."""
    return "\n".join([*measured(result), "", *costs(result)]) + "\n"


def measured(result: Mapping[str, Any]) -> list[str]:
    """The tables of what was measured."""
    reading, labelling, where = result["reading"], result["labelling"], result["environment"]
    size = "×".join(map(str, reading["image_size"]))
    rates, spread = reading["images_per_second"], reading["spread"]
    lines = [
        "### Measured",
        "",
        f"{where['cpu']}, torch {where['packages']['torch']}; load of the machine when it ended: {result['load']:.1f}. "
        f"`{result['command']}`",
        "",
        f"Decoding and augmentation (`standard`, {size}) in one process, {reading['images']} images of "
        f"{reading['bytes'] / reading['images'] / 1e3:.0f} kB with their masks, files in memory, in turns:",
        "",
        "| from | images/s/core | least to most |",
        "|---|---:|---:|",
        *(f"| {name} | {rates[name]:.0f} | {spread[name][0]:.0f}–{spread[name][1]:.0f} |" for name in rates),
        "",
        f"Labelling with {labelling['variant']} at {'×'.join(map(str, labelling['image_size']))}, torch, batch 4, one "
        f"thread, label PNGs written; {labelling['pictures'] // 5} pictures without a cluster, "
        f"{labelling['pictures']} on Ray:",
        "",
        "| | images/s/core | images/s | memory after a third MiB | at the end MiB | growth |",
        "|---|---:|---:|---:|---:|---:|",
        "| without a cluster | {per_core:.1f} | {images_per_second:.1f} | | | |".format(**labelling["here"]),
    ]
    for actors in (1, 2):
        row = labelling.get(f"ray{actors}")
        if row is None:
            continue
        before, after = row["memory_at_a_third"], row["memory_at_the_end"]
        lines.append(
            f"| Ray, {actors} actor{'s'[: actors - 1]} | {row['per_core']:.1f} | {row['images_per_second']:.1f} | "
            f"{before / 2**20:.0f} | {after / 2**20:.0f} | {100 * (after / before - 1):+.1f} % |"
        )
    if "ray1" in labelling:
        lines += [
            "",
            "Memory is that of the driver, Ray's own processes and the actors, shared pages counted in parts.",
        ]
    else:
        lines += [
            "",
            "On Ray nothing was measured yet: neither rates of 1 and 2 actors nor memory over 3,000 pictures.",
        ]
    return lines


def costs(result: Mapping[str, Any]) -> list[str]:
    """The table of costs and where the bottleneck lies."""
    labelling, reading = result["labelling"], result["reading"]
    rate = labelling["here"]["per_core"]
    picture, label = labelling["bytes"], labelling["label_bytes"]
    lines = [
        "### Costs",
        "",
        f"Labelling at {rate:.1f} images/s/core (without a cluster) and pictures of {picture / 1e3:.0f} kB, labels of "
        f"{label / 1e3:.1f} kB, at ${CORE_HOUR} a core-hour, ${GIGABYTE_MONTH} a GB and month and "
        f"${REQUEST * 1e6:.0f} a million writes, which are assumptions. All scale with the number of pictures:",
        "",
        "| pictures | core-hours | days on 1,000 cores | computing $ | pictures GB | labels GB | a month of both $ | "
        "writes as files $ | writes as parts of 256 $ |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, count in LAKES.items():
        hours = count / rate / 3600
        stored = count * (picture + label) / 1e9
        lines.append(
            f"| {name} | {hours:,.0f} | {hours / 1000 / 24:,.2f} | {hours * CORE_HOUR:,.0f} | "
            f"{count * picture / 1e9:,.0f} | {count * label / 1e9:,.0f} | {stored * GIGABYTE_MONTH:,.0f} | "
            f"{count * REQUEST:,.0f} | {2 * count / 256 * REQUEST:,.1f} |"
        )
    distilling = result["distilling"]
    step = distilling["images_per_second"]
    lines += [
        "",
        f"Distillation from pictures without labels, {distilling['teacher']} to {distilling['variant']} at the same "
        f"size, batch {distilling['batch_size']}, {step:.1f} images/s/core (forward, backward and step, alone), "
        "for one showing of each picture:",
        "",
        "| pictures | core-hours | computing $ |",
        "|---|---:|---:|",
        *(
            f"| {name} | {count / step / 3600:,.0f} | {count / step / 3600 * CORE_HOUR:,.0f} |"
            for name, count in LAKES.items()
        ),
        "",
        *advice(rate, step, reading["images_per_second"]["shards"], picture),
    ]
    return lines


def advice(rate: float, step: float, decode: float, picture: int) -> list[str]:
    """Where the bottleneck lies, and what changes it."""
    return [
        f"**Where the bottleneck lies.** A core decodes and varies {decode:.0f} images/s, labels {rate:.1f} and "
        f"distils {step:.1f}: on CPUs the network takes nearly all of the time, so a faster engine (OpenVINO, ONNX "
        "Runtime), int8, a smaller network or a smaller input lower the cost; storage and caches do not. A GPU that "
        f"does G images/s needs G / {decode:.0f} cores that decode, and waits with fewer. No GPU was measured, so no "
        "price of one is given.",
        "",
        f"**Network.** {rate:.1f} images/s/core read {rate * picture / 1e6:.2f} MB/s: 1,000 cores read "
        f"{rate * picture / 1e3:,.0f} MB/s of an object store.",
        "",
        "**What changes it.** Batch: on CPUs little; on GPUs much, until memory is full. `--cache disk` saves decoding "
        "from the second epoch on and costs 3 bytes a pixel of the input: nothing is saved in a single pass. Format: "
        "labels as files cost one write each; as shards or Parquet, one for each part and one for its record.",
    ]


if __name__ == "__main__":
    write_page()
