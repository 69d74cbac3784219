"""Publishing of results: every setting of `effiseg push` and `effiseg report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

ClassColors = Literal["dataset", "safe"]
"""Whether classes have the data set's colors, or ones that are safe for color-blind readers."""


@dataclass(kw_only=True)
class PushConfig:
    """Settings of `effiseg push`."""

    model: str
    """Run folder or model folder."""
    repository: str
    """owner/name on the Hub."""
    private: bool = False
    """A repository that is made is private."""
    revision: str | None = None
    """Branch to upload to; null: the main one."""


@dataclass(kw_only=True)
class ReportConfig:
    """Settings of `effiseg report`."""

    RENAMED: ClassVar[dict[str, str]] = {"colours": "colors"}

    paths: list[str]
    """Run folders, comparison folders or their results.json, files of `effiseg evaluate --json`."""
    out: str | None = None
    """Folder to write: index.html, figures/, tables/; null: runs/report, or with a number where there is one
    already."""
    colors: ClassColors = "dataset"
    """Of classes in pictures: the data set's own, or ones that stay apart for color-blind readers."""
