"""Model folders on the Hugging Face Hub: what is uploaded, and the upload."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from effiseg.errors import ModelError, UsageError
from effiseg.models.folder import (
    CONFIG_FILE,
    NESTED_PROCESSOR_FILE,
    PREPROCESSOR_FILE,
    SHARDS_FILE,
    WEIGHTS_FILE,
    has_safetensors,
)

CARD_FILE = "README.md"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Upload:
    """Files of one model on their way to one repository."""

    folder: Path
    """The model folder."""
    repository: str
    """owner/name."""
    files: list[str]
    """Names in the folder, sorted."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def plan_upload(folder: str | Path, repository: str) -> Upload:
    """Files of an upload: the model's own files and its card, and nothing else that lies there.

    Raises:
        ModelError: not a model folder.
        UsageError: not the name of a repository.
    """
    path = Path(folder)
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise UsageError(f"REPO must have the form owner/name; found {repository!r}")
    if not path.is_dir() or not (path / CONFIG_FILE).is_file() or not has_safetensors(path):
        raise ModelError(f"{path}: a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}; found none to upload")
    wanted = {CONFIG_FILE, SHARDS_FILE, PREPROCESSOR_FILE, NESTED_PROCESSOR_FILE, CARD_FILE}
    names = sorted(file.name for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return Upload(path, repository, [name for name in names if name in wanted or name.endswith(".safetensors")])


def push(upload: Upload, *, private: bool = False, revision: str | None = None) -> str:
    """Make the repository where there is none, and upload the files in one commit.

    Args:
        upload: what, and where to.
        private: whether a repository that is made can be seen by its owner alone; one that exists stays as it is.
        revision: the branch, made where there is none; None: the main one.

    Returns:
        The commit's address.

    Raises:
        ModelError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(upload.repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(upload.repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=upload.repository,
            folder_path=upload.folder,
            allow_patterns=upload.files,
            revision=revision,
            commit_message="Upload model",
        )
    except LocalTokenNotFoundError:
        raise ModelError(f"{upload.repository}: {_NO_TOKEN}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise ModelError(f"{upload.repository}: the Hub refuses ({status}): {_NO_TOKEN}") from None
        raise ModelError(f"{upload.repository}: the Hub refuses: {_first_line(error)}") from None
    except Exception as error:
        # Which library carries the requests, and with it the type of a broken connection, differs between versions.
        if not isinstance(error, OSError | ValueError) and type(error).__module__.partition(".")[0] not in _CARRIERS:
            raise
        raise ModelError(
            f"{upload.repository}: the Hugging Face Hub cannot be reached or refuses ({_first_line(error)}): check the "
            "connection, and HF_HUB_OFFLINE"
        ) from None
    return str(commit)


_CARRIERS = {"requests", "httpx", "httpx2", "httpcore"}
_NO_TOKEN = "give a token that may write there, with `hf auth login` or in HF_TOKEN"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
