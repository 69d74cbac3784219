"""`effiseg push`: a model folder to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass

from effiseg.config.command_line import parse_command
from effiseg.config.publishing import PushConfig


@dataclass(kw_only=True)
class Options(PushConfig):
    """Settings of `effiseg push`."""

    dry_run: bool = False
    """List what would be uploaded, without the network."""


def run(argv: list[str]) -> int:
    """Parse, upload or list what would be uploaded."""
    options = parse_command(
        Options,
        argv,
        prog="effiseg push",
        description="Upload a model folder to the Hugging Face Hub: weights, config and card. The repository is made "
        "if need be.",
        words=("model", "repository"),
    )
    from effiseg.models.hub import CARD_FILE, plan_upload, push
    from effiseg.run_folder import resolve_model

    folder = resolve_model(options.model)
    upload = plan_upload(folder, options.repository)
    print(f"{upload.folder} → {upload.repository}{f' ({options.revision})' if options.revision else ''}")
    for name in upload.files:
        print(f"  {name}  {(upload.folder / name).stat().st_size / 1e6:.2f} MB")
    print(f"{len(upload.files)} files, {upload.size / 1e6:.2f} MB")
    if CARD_FILE not in upload.files:
        print(f"there is no {CARD_FILE}, the model card; effiseg train writes one")
    if options.dry_run:
        print("nothing was uploaded")
        return 0
    print(push(upload, private=options.private, revision=options.revision))
    return 0
