"""Refuse pins of constraints.txt that are known to be bad: releases with malware, or with holes that files can reach.

`make lint` runs it. A release is added here when an advisory names it; a pin that is refused is raised.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


class KnownBad(NamedTuple):
    """Releases of a distribution that may not be installed."""

    name: str
    """The distribution."""
    versions: str
    """The releases, as a specifier."""
    reason: str
    """What is wrong with them."""
    source: str
    """The advisory."""


STOLEN = "steals credentials when it is imported"
STOLEN_SOURCE = "https://github.com/Lightning-AI/pytorch-lightning/security/advisories/GHSA-w37p-236h-pfx3"
KNOWN_BAD = (
    KnownBad("lightning", "==2.6.2", STOLEN, STOLEN_SOURCE),
    KnownBad("lightning", "==2.6.3", STOLEN, STOLEN_SOURCE),
    KnownBad("pytorch-lightning", "==2.6.2", STOLEN, STOLEN_SOURCE),
    KnownBad("pytorch-lightning", "==2.6.3", STOLEN, STOLEN_SOURCE),
    KnownBad(
        "torch", "<2.6", "torch.load(weights_only=True) runs code",
        "https://github.com/advisories/GHSA-53q9-r3pm-6pq6",
    ),
    KnownBad(
        "torch", "<2.10", "torch.load(weights_only=True) overwrites memory (CVE-2026-24747)",
        "https://nvd.nist.gov/vuln/detail/CVE-2026-24747",
    ),
    KnownBad(
        "pillow", "<10.0.1", "its libwebp overwrites memory (CVE-2023-4863)",
        "https://github.com/advisories/GHSA-j7hp-h8jx-5ppr",
    ),
    KnownBad(
        "pillow", ">=11.2,<11.3", "overwrites memory when it writes DDS (CVE-2025-48379)",
        "https://github.com/advisories/GHSA-xg8h-j46f-w952",
    ),
    KnownBad(
        "opencv-python-headless", "<4.8.1.78", "its libwebp overwrites memory (CVE-2023-4863)",
        "https://github.com/advisories/GHSA-qr4w-53vh-m672",
    ),
    KnownBad(
        "pyyaml", "<5.4", "full_load runs code (CVE-2020-14343)",
        "https://nvd.nist.gov/vuln/detail/CVE-2020-14343",
    ),
    KnownBad(
        "jinja2", "<3.1.6", "templates leave their sandbox (CVE-2025-27516)",
        "https://nvd.nist.gov/vuln/detail/CVE-2025-27516",
    ),
)  # fmt: skip
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def bad_pins(text: str) -> list[str]:
    """One line for each pin that is known to be bad.

    Args:
        text: the content of a constraints file, `name==version` a line.
    """
    found: list[str] = []
    for line in text.splitlines():
        name, pinned, version = line.partition("#")[0].partition("==")
        found += [
            f"{line}: {known.reason}; see {known.source}"
            for known in KNOWN_BAD
            if pinned
            and canonicalize_name(name.strip()) == known.name
            and SpecifierSet(known.versions).contains(version.strip(), prereleases=True)
        ]
    return found


if __name__ == "__main__":
    bad = bad_pins(CONSTRAINTS.read_text(encoding="utf-8"))
    sys.exit("\n".join([f"{CONSTRAINTS.name} pins what is known to be bad:", *bad]) if bad else 0)
