"""Models in the browser and behind a server: every setting of `effiseg export --format web` and of `effiseg serve`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from effiseg.config.ranges import COUNT, POSITIVE, Interval, check_ranges
from effiseg.config.training import Device
from effiseg.errors import UsageError

_PORTS: Interval = (0, 65535, True, True)


@dataclass(kw_only=True)
class SiteConfig:
    """Settings of one folder with the page."""

    models: list[str]
    """One or two models of equal classes: run folders, model folders, transformers folders or Hub ids."""
    out: Path
    """The folder; it must not exist."""
    image_size: tuple[int, int] | None = None
    """Size that pictures are brought to; null: each model's own."""
    data: str | None = None
    """Data set whose images check the models' files."""
    data_root: str | None = None
    """Folder of the data set; replaces the YAML's path."""
    split: str = "val"
    """Split that checks the files."""

    def __post_init__(self) -> None:
        check_models(self.models)


@dataclass(kw_only=True)
class ServeConfig:
    """Settings of `effiseg serve`."""

    models: list[str]
    """One or two models of equal classes: run folders, model folders, transformers folders or Hub ids. The page shows
    both; `POST /predict` is answered by the first."""
    host: str = "127.0.0.1"
    """Address to listen at; what is not of this machine alone lets others use the server."""
    port: int = 8000
    """Port to listen at; 0: any that is free."""
    allowed_hosts: list[str] | None = None
    """Further names that requests may have in their Host, beside localhost and `host`."""
    image_size: tuple[int, int] | None = None
    """Size that pictures are brought to; null: each model's own."""
    device: Device = "auto"
    """Device of `POST /predict`; auto takes a GPU where there is one."""
    max_bytes: int = 20_000_000
    """Most bytes of a picture; more are answered with 413."""
    max_pixels: int = 25_000_000
    """Most pixels of a picture; more are answered with 413."""
    timeout: float = 30
    """Seconds that a request may take, its body included; then it is answered with 504."""
    concurrency: int = 8
    """Most requests to /predict at one time, of which the network runs one; more are answered with 503."""

    def __post_init__(self) -> None:
        check_models(self.models)
        counts = dict.fromkeys(("max_bytes", "max_pixels", "concurrency"), COUNT)
        check_ranges(self, {**counts, "port": _PORTS, "timeout": POSITIVE})
        for option, name in [("host", self.host), *(("allowed_hosts", name) for name in self.allowed_hosts or [])]:
            if not _is_host(name):
                raise UsageError(f"--{option}: give a name or an address, without port and path; found {name!r}")
        if _is_every_address(self.host) and not self.allowed_hosts:
            raise UsageError(
                f"--host {self.host} listens everywhere; say with --allowed_hosts NAME what requests may call it"
            )


def check_models(models: list[str]) -> None:
    """Refuse another number of models than a page can show.

    Raises:
        UsageError: none, or more than two.
    """
    if not 1 <= len(models) <= 2:
        raise UsageError(f"the page shows one or two models; found {len(models)}")


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return re.fullmatch(r"[\w-]+(\.[\w-]+)*", name) is not None
    return True
