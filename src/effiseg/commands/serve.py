"""`effiseg serve`: the page with models, and an HTTP interface, on this machine."""

from __future__ import annotations

import sys

from effiseg.config.command_line import parse_command
from effiseg.config.web import ServeConfig


def run(argv: list[str]) -> int:
    """Parse, load, serve until a signal comes."""
    config = parse_command(
        ServeConfig,
        argv,
        prog="effiseg serve",
        description="Serve the page of `effiseg export --format web` with the headers that let it run threads, and an "
        "HTTP interface: POST /predict takes an image file and answers with a PNG of class indices, or with the "
        "classes' areas where Accept asks for application/json; GET /healthz says that it runs.",
        words=("models",),
    )
    from effiseg.api.web import serve_as

    serve_as(config, lambda text: print(text, file=sys.stderr, flush=True))
    return 0
