"""Models in browsers and behind a server, as functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from effiseg.config.keywords import PathLike, ServeKeywords, SiteKeywords
from effiseg.config.parsing import keyword_settings
from effiseg.config.signatures import signature_of
from effiseg.config.web import ServeConfig, SiteConfig
from effiseg.operations import trained_network

# What works is imported where it works.
if TYPE_CHECKING:
    from effiseg.models.segformer import SegFormer
    from effiseg.web.site import SiteReport


@signature_of(SiteConfig, SiteKeywords)
def export_site(models: PathLike | Sequence[PathLike], out: PathLike, **settings: Unpack[SiteKeywords]) -> SiteReport:
    """Write a folder that runs one or two models in the visitor's browser, as `effiseg export --format web` does.

    Args:
        models: run folders, model folders, transformers folders or Hub ids, of equal classes.
        out: the folder; it must not exist.
        settings: any other setting of `effiseg export --help` that concerns a page.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; no folder is left.
    """
    return export_site_as(keyword_settings(SiteConfig, "effiseg.export_site", _given(models, {"out": out, **settings})))


def export_site_as(config: SiteConfig, message: Callable[[str], object] = lambda text: None) -> SiteReport:
    """`export_site` with its settings as one object.

    Args:
        config: the settings.
        message: told what is being done, a line each.

    Raises:
        UsageError, ModelError, DataError: what is wrong, in one line; no folder is left.
    """
    from effiseg.web.page import display_names, page_files, require_new

    page_files()  # before torch is loaded
    require_new(config.out)
    from effiseg.web.site import write_site

    return write_site(_networks(config.models), display_names(config.models), config, message)


@signature_of(ServeConfig, ServeKeywords)
def serve(models: PathLike | Sequence[PathLike], **settings: Unpack[ServeKeywords]) -> None:
    """Serve page and HTTP interface on this machine until a signal comes, as `effiseg serve` does.

    Args:
        models: run folders, model folders, transformers folders or Hub ids, of equal classes.
        settings: any other setting of `effiseg serve --help`.

    Raises:
        UsageError, ModelError: what is wrong, in one line.
        Interrupted: a signal came before the server was ready.
    """
    serve_as(keyword_settings(ServeConfig, "effiseg.serve", _given(models, settings)))


def serve_as(config: ServeConfig, message: Callable[[str], object] = print) -> None:
    """`serve` with its settings as one object.

    Args:
        config: the settings.
        message: told what is being done, a line each.

    Raises:
        UsageError, ModelError: what is wrong, in one line.
        Interrupted: a signal came before the server was ready.
    """
    from effiseg.environment import require_package
    from effiseg.web.page import display_names, page_files

    page_files()  # before torch is loaded
    for package in ("fastapi", "uvicorn"):
        require_package(package, "serve", "effiseg serve")
    from effiseg.allocator import keep_freed_memory
    from effiseg.serving.server import serve as run

    keep_freed_memory()
    run(lambda: _networks(config.models), display_names(config.models), config, message)


def _networks(models: Sequence[str]) -> list[SegFormer]:
    refusal = "is not exported again; give the run or model folder that it came from"
    return [trained_network(model, refusal) for model in models]


def _given(models: PathLike | Sequence[PathLike], settings: Any) -> dict[str, Any]:
    listed = [models] if isinstance(models, str | os.PathLike) else list(models)
    return {"models": [os.fspath(model) for model in listed], **settings}
