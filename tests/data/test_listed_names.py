"""Which image a COCO file means."""

from __future__ import annotations

from pathlib import Path

import pytest

from effiseg.data.listed_names import folded_name, match_names, parse_name
from effiseg.errors import DataError

ROOT = Path("/data/cam1/set")


def match(listed: list[str], images: list[str]) -> dict[str, str]:
    """Image → name, images below ROOT."""
    names = [parse_name(name) for name in listed]
    assert None not in names
    found = match_names(names, [str(ROOT / image) for image in images], ROOT, "a.json", "val")  # type: ignore[arg-type]
    return {str(Path(image).relative_to(ROOT)): listed[index] for image, index in found.items()}


@pytest.mark.parametrize(
    "name",
    [
        "y.png",
        "./y.png",
        "images/y.png",
        "images\\y.png",
        "train/y.png",
        "set/images/train/y.png",
        "set/images/y.png",
        "images/train/y.png",
        "../images/y.png",
        "..\\..\\other\\y.png",
        "/home/her/other/y.png",
        "C:\\exports\\other\\y.png",
        "D:/exports/y.png",
        "\\\\server\\share\\y.png",
        "https://host/bucket/other/y.png?token=a/b.png",
        "s3://bucket/other/y.png",
        "file:///home/her/y.png",
        "/data/local-files/?d=other/y.png",
        "~/y.png",
        "x/../images/y.png",
    ],
)
def test_one_image_is_found_by_any_of_its_names(name: str) -> None:
    assert match([name], ["images/train/y.png"]) == {"images/train/y.png": name}


@pytest.mark.parametrize("name", ["cam1/0001.jpg", "cam1\\0001.jpg", "images/cam1/0001.jpg", "x/images/cam2/0001.jpg",
                                  "cam2/images/0001.jpg", "set/cam1/0001.jpg", "./cam1/0001.jpg"])  # fmt: skip
def test_folders_that_do_not_agree_mean_another_image(name: str) -> None:
    assert match([name], ["images/cam2/0001.jpg"]) == {}


@pytest.mark.parametrize("prefix", ["", "images/", "/mnt/x/", "C:\\x\\", "https://h/", "../"])
def test_each_camera_gets_its_own(prefix: str) -> None:
    listed = [f"{prefix}{camera}/0001.jpg" for camera in ("cam1", "cam2", "cam3")]
    images = [f"images/{camera}/0001.jpg" for camera in ("cam3", "cam2")]
    assert match(listed, images) == {images[0]: listed[2], images[1]: listed[1]}


@pytest.mark.parametrize(
    "name",
    [
        "/x/cam1/1.jpg",
        "C:\\x\\cam1\\1.jpg",
        "https://host/cam1/1.jpg?v=2",
        "../cam1/1.jpg",
        "/x/cam1/left/1.jpg",
        "/x/cam03/1.jpg",
    ],
)
@pytest.mark.parametrize("image", ["images/cam2/1.jpg", "images/cam2/left/1.jpg"])
def test_a_folder_that_differs_in_its_number_is_another(name: str, image: str) -> None:
    assert match([name], [image]) == {}


@pytest.mark.parametrize(("own", "other"), [("north", "south"), ("train", "val"), ("a", "b")])
@pytest.mark.parametrize("below", ["", "left/"])
def test_folders_of_other_machines_are_those_that_lie_here_and_those_that_are_listed(
    own: str, other: str, below: str, tmp_path: Path
) -> None:
    def found(*listed: str) -> dict[str, int]:
        names = [parse_name(name) for name in listed]
        image = str(tmp_path / f"images/{own}/{below}1.jpg")
        return match_names(names, [image], tmp_path, "a.json", "val")  # type: ignore[arg-type]

    name = f"/x/{other}/{below}1.jpg"
    assert list(found(name).values()) == [0]  # nothing says that it is another
    assert found(name, f"/x/{own}/{below}2.jpg") == {}
    (tmp_path / "images" / other).mkdir(parents=True)
    assert list(found(name).values()) == [0]  # an empty folder says nothing
    (tmp_path / "images" / other / "9.jpg").touch()
    assert found(name) == {}
    assert list(found(f"/x/{own}/{below}1.jpg", name).values()) == [0]


@pytest.mark.parametrize(
    "name",
    [
        r"C:\Users\me\AppData\Local\label-studio\media\upload\7\ab-y.png",
        r"..\..\label-studio\data\media\upload\12\ab-y.png",
        "/data/upload/3/ab-y.png",
    ],
)
def test_names_of_label_studio_are_found_by_their_last_part(name: str) -> None:
    assert match([name], ["images/train/ab-y.png"]) == {"images/train/ab-y.png": name}


def test_a_longer_agreement_counts_more() -> None:
    images = ["images/b.png", "images/x/b.png"]
    assert match(["x/b.png", "b.png"], images) == {images[0]: "b.png", images[1]: "x/b.png"}
    assert match(["images/b.png"], images) == {images[0]: "images/b.png"}
    assert match(["b/x/1.png", "x/1.png"], ["a/b/x/1.png", "c/x/1.png"]) == {
        "a/b/x/1.png": "b/x/1.png",
        "c/x/1.png": "x/1.png",
    }


def test_last_names_count_where_they_are_the_only_ones() -> None:
    assert match(["/p/b.png", "/q/b.png"], ["images/b.png"]) == {}
    for name in ("b.png", "/p/b.png"):
        with pytest.raises(DataError, match=r"must mean one file of val; found .*/x/b\.png and .*/y/b\.png"):
            match([name], ["x/b.png", "y/b.png"])
    with pytest.raises(DataError, match="must be listed once; found"):
        match(["a/1.png", "b/1.png"], ["a/b/c/1.png"])


def test_what_is_written_otherwise_is_near() -> None:
    for written in ("Straße ü.jpg", "stra%C3%9Fe%20%C3%BC.JPG", "Straße u\u0308.JPG"):
        name = parse_name(f"y/{written}")
        assert name is not None
        assert folded_name(name.last) == folded_name("Straße ü.JPG")
        assert match([written], ["Straße ü.JPG"]) == {}
    assert parse_name("..") is None
