from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.file_sample import FileSample
from effiseg.data.formats.index import IndexMasks
from effiseg.data.image_file import PIXEL_LIMIT_VARIABLE, decode_image, decode_pillow_image, read_header, turn_upright
from effiseg.data.reading import read_raw_mask
from effiseg.errors import DataError, UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 9, 3), dtype=np.uint8)


def turned(path: Path, orientation: int, pixels: np.ndarray = PIXELS, **options: Any) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_images_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = turned(tmp_path / f"a{suffix}", orientation, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file.convert("RGB")) if suffix != ".tif" else file.convert("RGB"))
    pixels, header = decode_image(path)
    tolerance = 3 if suffix == ".jpg" else 0  # two decoders
    np.testing.assert_allclose(pixels.astype(int), expected, atol=tolerance)
    assert header == read_header(path)
    assert header.shape == pixels.shape[:2]
    assert header.orientation == orientation
    assert header.stored_shape == (4, 9)
    np.testing.assert_array_equal(turn_upright(PIXELS, orientation)[..., 0], turn_upright(PIXELS[..., 0], orientation))


def test_damaged_exif_data_turns_nothing(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0")
    pixels, header = decode_image(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, PIXELS)
    assert header.orientation == 1


@pytest.fixture
def spec(make_dataset: Any) -> DatasetSpec:
    return load_dataset_spec(make_dataset())


def pair(folder: Path, orientation: int, label: np.ndarray, pixels: np.ndarray = PIXELS) -> FileSample:
    Image.fromarray(label).save(folder / "m.png")
    return FileSample("a", turned(folder / "a.png", orientation, pixels), folder / "m.png")


def oriented(sample: FileSample, orientation: Any) -> FileSample:
    return replace(sample, masks=IndexMasks(orientation=orientation))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_size_of_a_mask_tells_whether_it_is_turned(tmp_path: Path, spec: DatasetSpec, orientation: int) -> None:
    stored = (PIXELS[..., 0] % 3).astype(np.uint8)
    upright = np.ascontiguousarray(turn_upright(stored, orientation))
    for mask, meaning in ((stored, "stored"), (upright, "upright")):
        sample = pair(tmp_path, orientation, mask)
        for described in (sample, oriented(sample, meaning)):
            image, label = described.read_pair(spec)
            assert image.shape == (9, 4, 3)
            np.testing.assert_array_equal(label, upright)
    with pytest.raises(DataError, match=r"found 9x4 .* turned by 90 degrees: turn the mask, or correct mask_orient"):
        pair(tmp_path, 1, upright).read_pair(spec)
    with pytest.raises(DataError, match=r"found 4x9 \(HxW\) against 9x4 of"):
        oriented(pair(tmp_path, orientation, stored), "upright").read_pair(spec)


def test_where_the_size_does_not_tell_the_yaml_must(tmp_path: Path, spec: DatasetSpec) -> None:
    stored = (PIXELS[..., 0] % 3).astype(np.uint8)
    sample = pair(tmp_path, 3, stored)
    with pytest.raises(DataError) as caught:
        sample.read_labels(spec)
    assert str(sample.image) in str(caught.value)
    assert "EXIF orientation is 3" in str(caught.value)
    assert "set mask_orientation to upright" in str(caught.value)
    np.testing.assert_array_equal(oriented(sample, "upright").read_labels(spec)[0], stored)
    np.testing.assert_array_equal(oriented(sample, "stored").read_labels(spec)[0], stored[::-1, ::-1])
    square = pair(tmp_path, 6, stored[:, :4], PIXELS[:, :4])
    with pytest.raises(DataError, match="EXIF orientation is 6"):
        square.read_labels(spec)
    np.testing.assert_array_equal(oriented(square, "stored").read_labels(spec)[0], np.rot90(stored[:, :4], -1))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, suffix) for mode in ("L", "LA", "RGBA", "P", "1") for suffix in (".png", ".tif")]
    + [("CMYK", ".tif"), ("CMYK", ".jpg"), ("L", ".jpg")],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    smooth = np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))
    image = Image.fromarray(smooth).convert(mode)
    path = tmp_path / f"größe 1{suffix}"
    image.save(path, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    with Image.open(path) as file:
        expected = np.asarray(file.convert("RGB"), dtype=int)
    np.testing.assert_allclose(decode_image(path)[0].astype(int), expected, atol=4 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_16_bits_the_upper_8_count(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 6, channels), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), deep)
    shown = np.repeat(deep, 3, axis=2) if channels == 1 else deep[..., 2::-1]
    np.testing.assert_allclose(decode_image(tmp_path / f"a{suffix}")[0].astype(int), shown >> 8, atol=1)


def test_pillow_decodes_what_opencv_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = turned(tmp_path / "a.png", 6)
    deep = PIXELS[..., 0].astype(np.uint16) * 256
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = decode_image(path)[0], decode_image(tmp_path / "deep.png")[0]
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: None)
    np.testing.assert_array_equal(decode_image(path)[0], expected[0])
    np.testing.assert_array_equal(decode_image(tmp_path / "deep.png")[0], expected[1])


def test_images_of_32_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: an image has 8 or 16 bits a channel; found 32"):
        decode_image(tmp_path / "a.tif")


def test_more_pixels_than_the_limit_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = turned(tmp_path / "a.png", 1)
    monkeypatch.setenv(PIXEL_LIMIT_VARIABLE, "35")
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("decoded"))
    for read in (decode_image, read_header, read_raw_mask):
        with pytest.raises(DataError, match=r"a\.png: at most 35 pixels are decoded; found more \(4x9\)"):
            read(path)
    monkeypatch.setenv(PIXEL_LIMIT_VARIABLE, "36")
    assert read_header(path).shape == (4, 9)
    monkeypatch.setenv(PIXEL_LIMIT_VARIABLE, "many")
    with pytest.raises(UsageError, match="EFFISEG_MAX_PIXELS must be a whole number from 1 on; found 'many'"):
        read_header(path)


def test_a_header_that_claims_too_much_is_refused_by_default(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.bmp")
    claims = bytearray((tmp_path / "a.bmp").read_bytes())
    claims[18:26] = (60_000).to_bytes(4, "little") * 2  # width and height
    (tmp_path / "a.bmp").write_bytes(claims)
    with pytest.raises(DataError, match="at most 178956970 pixels are decoded"):
        decode_image(tmp_path / "a.bmp")


def damaged_files() -> dict[str, bytes]:
    """Files that decoders like to comment, and one that they should not."""
    noise = np.kron(np.random.default_rng(1).integers(0, 256, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    files: dict[str, bytes] = {}
    for suffix, options in {".png": {}, ".tif": {"compression": "tiff_lzw"}, ".webp": {}, ".bmp": {}}.items():
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, Image.registered_extensions()[suffix], **options)
        data = stream.getvalue()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 0x5A
        files |= {
            f"cut{suffix}": data[: len(data) * 2 // 3],
            f"flip{suffix}": bytes(flipped),
            f"x{suffix}": data + b"x",
        }
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG", icc_profile=b"no profile")
    return files | {"profile.png": stream.getvalue(), "nothing.png": b"\x89PNG\r\n\x1a\n"}


def test_decoders_write_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, data in damaged_files().items():
        (tmp_path / name).write_bytes(data)
        with contextlib.suppress(DataError):
            decode_image(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_what_a_png_says_besides_its_pixels_changes_none(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    notes = PngInfo()
    notes.add_text("comment", "x" * 1000)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "noted.png", pnginfo=notes, icc_profile=b"no profile", gamma=0.5, dpi=(30, 30))
    np.testing.assert_array_equal(decode_image(tmp_path / "noted.png")[0], decode_image(tmp_path / "plain.png")[0])
    np.testing.assert_array_equal(decode_image(tmp_path / "plain.png")[0], np.asarray(image.convert("RGB")))
    data = bytearray((tmp_path / "plain.png").read_bytes())
    data[-20] ^= 1
    (tmp_path / "damaged.png").write_bytes(data)
    with pytest.raises(DataError, match=r"damaged\.png: image cannot be read"):
        decode_image(tmp_path / "damaged.png")


@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", ".jpg"), ("L", ".jpg"), ("RGB", ".png"), ("RGBA", ".png"), ("LA", ".png"), ("P", ".png"), ("1", ".png"),
        ("I;16", ".png"), ("RGB", ".tif"), ("L", ".tif"), ("I;16", ".tif"), ("I;16B", ".tif"), ("CMYK", ".tif"),
    ],
)  # fmt: skip
def test_a_pillow_image_is_what_its_file_is(mode: str, suffix: str, orientation: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (5, 8, 3), dtype=np.uint16)
    if mode.startswith("I;16"):
        image = Image.fromarray(values[..., 0].astype(">u2" if mode == "I;16B" else "<u2"))
        assert image.mode == mode
    else:
        image = Image.fromarray((values >> 8).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    image.save(path, **({"tiffinfo": {0x0112: orientation}} if suffix == ".tif" else {"exif": exif.tobytes()}))
    expected, _ = decode_image(path)
    assert expected.shape == ((5, 8, 3) if orientation < 5 else (8, 5, 3))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(decode_pillow_image(opened), expected)
        np.testing.assert_array_equal(decode_pillow_image(opened), expected)  # loaded
        np.testing.assert_array_equal(decode_pillow_image(opened.copy()), expected)
        assert opened.filename == str(path) or opened.filename == path


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_pillow_image_that_no_file_can_be_is_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"^a Pillow image: "):
        decode_pillow_image(Image.new(mode, (4, 3)))
    monkeypatch.setenv("EFFISEG_MAX_PIXELS", "11")
    with pytest.raises(DataError, match="at most 11 pixels are taken; found 3x4"):
        decode_pillow_image(Image.new("RGB", (4, 3)))
