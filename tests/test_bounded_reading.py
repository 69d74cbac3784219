"""Settings and results files as somebody else may have written them: each fault is one line, and nothing grows."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from effiseg import files
from effiseg.errors import UsageError
from effiseg.files import SETTINGS_BYTES, json_limit, parse_yaml, read_json, read_text, read_yaml, write_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new}\n  <<: [{', '.join([f'*{old}'] * 40)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "stands for more than 1000000 values"),
        (MERGES, "stands for more than 1000000 values"),
        ("a: &a [*a]\n", "an alias stands for itself"),
        ("a: &a {b: {c: *a}}\n", "an alias stands for itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (f"a: {'9' * 301}\n", "a number has at most 300 digits"),
        (f"a: 0x{'f' * 5000}\n", "a number has at most 300 digits"),
        ('a: "\\ud800"\n', "surrogates not allowed"),
        ("a: !!timestamp 2024-13-45\n", "is no plain value"),
        ("a: !!set {b}\n", "is no plain value"),
        ("a: !!int ''\n", "not valid YAML"),
        ("a: !!bool perhaps\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("a: [1\n", "line 2"),
        ("- 1\n", "must hold 'key: value' lines, found list"),
        ("", "must hold 'key: value' lines, found NoneType"),
    ],
)
def test_yaml_that_grows_or_is_none_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_yaml_keeps_dates_as_texts_and_aliases_as_values() -> None:
    text = "a: 2024-02-31\nb: &b [1, 2.5, yes, null]\nc: *b\nd: {<<: {e: 1}, f: 2}\n"
    assert parse_yaml(text, "x") == {
        "a": "2024-02-31", "b": [1, 2.5, True, None], "c": [1, 2.5, True, None], "d": {"e": 1, "f": 2},
    }  # fmt: skip
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        (f"[{'9' * 5000}]", "digits"),
        ("[NaN]", "JSON has no NaN"),
        ("[-Infinity]", "JSON has no -Infinity"),
        ('["\\ud800"]', "surrogates not allowed"),
        ("{", "line 1"),
        ("", "line 1"),
    ],
)
def test_json_that_grows_or_is_none_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_json(file)
    assert str(caught.value).startswith(f"{file}: not valid JSON")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\x85b", "\x85", "a\u2028b", "a\tb\r\n", "\ufeffa", "\x1b[31m"])
def test_characters_that_yaml_takes_for_line_ends_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {name: name})
    assert read_yaml(tmp_path / "a.yaml") == {name: name}


def test_a_path_that_is_no_utf8_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"data": os.fsdecode(b"caf\xe9/d.yaml")}
    write_yaml(tmp_path / "a.yaml", value)
    assert read_yaml(tmp_path / "a.yaml") == value


def test_a_byte_order_mark_and_whole_surrogate_pairs_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('\ufeff["\\ud83d\\ude00"]', encoding="utf-8")
    assert read_json(tmp_path / "r.json") == ["😀"]
    (tmp_path / "s.yaml").write_text("\ufeffa: 1\n", encoding="utf-8")
    assert read_yaml(tmp_path / "s.yaml") == {"a": 1}


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "s.yaml").open("wb") as stream:
        stream.truncate(SETTINGS_BYTES + 1)
    with pytest.raises(UsageError, match="holds more than 16 MB"):
        read_yaml(tmp_path / "s.yaml")
    monkeypatch.setattr(files, "available_memory", lambda: 8 * SETTINGS_BYTES * 100)
    assert json_limit() == 100 * SETTINGS_BYTES  # results of a large data set exceed what settings may have
    monkeypatch.setattr(files, "available_memory", lambda: 1000)
    assert json_limit() == SETTINGS_BYTES


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are a POSIX thing")
def test_pipes_are_read_and_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "nobody.yaml")
    assert read_text(tmp_path / "nobody.yaml") == ""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        threading.Timer(0.1, lambda: (stream.write("a: 1\n"), stream.close())).start()
        assert read_yaml(f"/dev/fd/{reading}") == {"a": 1}
    os.close(reading)
    with pytest.raises(UsageError, match="holds more than 0 MB"):
        read_text("/dev/zero", limit=1000)
    with pytest.raises(UsageError, match="cannot be read as text"):
        read_text(tmp_path)
