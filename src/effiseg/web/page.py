"""The page as `make web` builds it, a folder inside the package that wheels hold, and where it is to go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effiseg.errors import UsageError

_BUILT = Path(__file__).parent / "page"
_START = "index.html"


def page_files(built: Path = _BUILT) -> dict[str, Path]:
    """Every file of the built page by its path in the page, `/` between folders.

    Args:
        built: the folder that the page was built into.

    Raises:
        UsageError: this installation has no built page.
    """
    if not (built / _START).is_file():
        raise UsageError(
            "this installation of effiseg holds no built page; install a wheel, or run `make web` in the checkout "
            "(it needs Node.js and npm)"
        )
    return {path.relative_to(built).as_posix(): path for path in sorted(built.rglob("*")) if path.is_file()}


def require_new(folder: Path) -> None:
    """Refuse a folder that is there already.

    Raises:
        UsageError: something has that name.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"--out {folder}: exists already; give the name of a new folder, or remove it first")


def display_names(models: Sequence[str]) -> list[str]:
    """What the page calls the models: the last parts of their paths, as many as tell them apart."""
    parts = [Path(model).parts or (model,) for model in models]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-count:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return ["/".join(path[-1:]) for path in parts]
