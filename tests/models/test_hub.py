"""What goes to the Hub, and what the Hub's refusals look like; nothing here asks the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from effiseg.cli import main
from effiseg.errors import ModelError, UsageError
from effiseg.models.hub import plan_upload, push
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

FILES = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "run" / "model"
    save_pretrained(SegFormer("b0", 2), path)
    (path / "README.md").write_text("# card\n")
    (path / "notes.txt").write_text("private")
    (path / "old.bin").write_bytes(b"pickle")
    (path / ".hidden.safetensors").write_bytes(b"")
    return path


class Hub:
    """Stands for HfApi; `broken` is raised by every call."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
    broken: Exception | None

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any, **options: Any) -> str:
            if Hub.broken is not None:
                raise Hub.broken
            Hub.calls.append((name, words, options))
            return "https://hub/commit"

        return call


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    Hub.calls, Hub.broken = [], None
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    return Hub


def test_only_the_model_and_its_card_are_taken(folder: Path) -> None:
    upload = plan_upload(folder, "me/net")
    assert upload.files == FILES
    assert upload.size == sum((folder / name).stat().st_size for name in upload.files)


@pytest.mark.parametrize("name", ["net", "me/net/more", "../net", "me/", "me/..", "a b/c"])
def test_a_repository_has_an_owner_and_a_name(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="owner/name"):
        plan_upload(folder, name)


def test_a_folder_that_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for path in (tmp_path, tmp_path / "nothing", folder / "config.json"):
        with pytest.raises(ModelError, match="a model folder holds"):
            plan_upload(path, "me/net")


def test_a_dry_run_lists_and_asks_nobody(folder: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]) -> None:
    hub.broken = AssertionError("asked the Hub")
    assert main(["push", str(folder.parent), "me/net", "--dry_run", "--revision", "v1"]) == 0
    said = capsys.readouterr().out
    for words in ("model.safetensors", "README.md", "me/net (v1)", "4 files", "nothing was uploaded"):
        assert words in said
    assert "notes.txt" not in said


def test_files_go_up_in_one_commit_to_the_branch(
    folder: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(folder), "me/net", "--private", "--revision", "v1"]) == 0
    assert [name for name, _, _ in hub.calls] == ["create_repo", "create_branch", "upload_folder"]
    assert hub.calls[0][2] == {"private": True, "exist_ok": True}
    sent = hub.calls[2][2]
    assert (sent["revision"], sent["allow_patterns"]) == ("v1", FILES)
    assert "https://hub/commit" in capsys.readouterr().out


def test_refusals_are_one_line(folder: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub.errors import LocalTokenNotFoundError

    for error, words in (
        (LocalTokenNotFoundError("no token\nat all"), "hf auth login"),
        (ConnectionError("no route\nto host"), "cannot be reached"),
        (type("ConnectError", (Exception,), {"__module__": "httpx"})("down\nnow"), "cannot be reached"),
    ):
        hub.broken = error
        assert main(["push", str(folder), "me/net"]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    hub.broken = KeyError("a bug")
    with pytest.raises(KeyError):
        push(plan_upload(folder, "me/net"))
