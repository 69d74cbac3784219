"""`effiseg push`: a model folder to the Hugging Face Hub."""

from __future__ import annotations

from effiseg.commands.arguments import CommandParser
from effiseg.run_folder import resolve_model


def run(argv: list[str]) -> int:
    """Parse, upload or list what would be uploaded."""
    parser = CommandParser(
        "effiseg push",
        "Upload a model folder to the Hugging Face Hub: weights, config and card. The repository is made if need be.",
    )
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("repository", metavar="REPO", help="owner/name on the Hub")
    parser.add_argument("--private", action="store_true", help="a repository that is made is private")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to upload to; default: the main one")
    parser.add_argument("--dry_run", action="store_true", help="list what would be uploaded, without the network")
    options = parser.parse(argv)

    from effiseg.models.hub import CARD_FILE, plan_upload, push

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
