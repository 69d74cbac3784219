"""Checks of an export before a model is loaded: its format, what that can compute in, and what a page can be told."""

from __future__ import annotations

from dataclasses import fields

from effiseg.config.export import ExportConfig
from effiseg.config.web import SiteConfig
from effiseg.engines import FORMATS, format_named, format_of
from effiseg.engines.engine import FileFormat
from effiseg.errors import UsageError


def format_to_write(config: ExportConfig) -> FileFormat:
    """The format of an export: what `--format` says, else what the file's suffix says.

    Raises:
        UsageError: the two differ, neither says one, the format cannot do what is asked for, or it is the page's.
    """
    if config.format == "web":
        raise UsageError("web is a page for one or two models and no file; call effiseg.export_site(models, folder)")
    by_suffix = format_of(config.out)
    if config.format is None and by_suffix is None:
        raise UsageError(
            f"--out must end in {', '.join(known.suffix for known in FORMATS)}, which says the format; "
            f"found {config.out}"
        )
    found = format_named(config.format) if config.format is not None else by_suffix
    assert found is not None
    if config.out.suffix != found.suffix:
        raise UsageError(f"--out must end in {found.suffix} for --format {found.format}; found {config.out}")
    if config.precision not in found.precisions:
        able = " and ".join(known.format for known in FORMATS if config.precision in known.precisions)
        raise UsageError(
            f"--precision {config.precision} is for --format {able}; found {found.format}, "
            f"which has {', '.join(found.precisions)}"
        )
    if config.output not in found.outputs:
        raise UsageError(f"--output {config.output} is not for --format {found.format}, which answers with logits")
    if config.dynamic and not found.takes_any_size:
        raise UsageError(f"--dynamic is not for --format {found.format}, whose files have one size: give --image_size")
    if config.opset is not None and found.opsets is None:
        able = " and ".join(known.format for known in FORMATS if known.opsets is not None)
        raise UsageError(f"--opset is for --format {able}; found {found.format}")
    if config.opset is not None and found.opsets is not None and config.opset not in found.opsets:
        raise UsageError(
            f"--opset must be from {found.opsets[0]} to {found.opsets[-1]}, which {found.format} is written in and run "
            f"here; found {config.opset}"
        )
    return found


def site_settings(models: list[str], config: ExportConfig) -> SiteConfig:
    """The settings of `--format web`.

    Raises:
        UsageError: a setting that belongs to files, or another number of models than a page shows.
    """
    own = {item.name for item in fields(SiteConfig)}
    for item in fields(ExportConfig):
        value = getattr(config, item.name)
        if item.name not in {*own, "format"} and value != item.default:
            raise UsageError(f"--{item.name} is for files of one model; found {value} with --format web")
    taken = {item.name: getattr(config, item.name) for item in fields(ExportConfig) if item.name in own}
    return SiteConfig(models=models, **taken)
