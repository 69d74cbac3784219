"""One XML file of CVAT for all images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from effiseg.files import atomic_path
from effiseg.prediction.annotations.image import AnnotatedImage, pairs


def write_cvat(
    path: Path,
    images: Callable[[], Iterable[AnnotatedImage]],
    names: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
) -> None:
    """Write "CVAT for images 1.1": polygons of one z_order, of which the later lies on top.

    Args:
        path: the file.
        images: called for what is written.
        names: of the classes; the task must have labels of these names.
        palette: their colours.

    Raises:
        ResourceError: it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        stream.write("  <meta><task><labels>\n")
        for name, (red, green, blue) in zip(names, palette, strict=True):
            color = f"#{red:02x}{green:02x}{blue:02x}"
            stream.write(f"    <label><name>{escape(name)}</name><color>{color}</color><attributes/></label>\n")
        stream.write("  </labels></task></meta>\n")
        for number, image in enumerate(images()):
            size = f'width="{image.shape[1]}" height="{image.shape[0]}"'
            stream.write(f'  <image id="{number}" name={quoteattr(image.name)} {size}>\n')
            for one in image.outlines:
                points = ";".join(f"{x:g},{y:g}" for x, y in pairs(one.outer))
                label = quoteattr(names[one.label])
                stream.write(
                    f'    <polygon label={label} source="auto" occluded="0" points="{points}" z_order="0"></polygon>\n'
                )
            stream.write("  </image>\n")
        stream.write("</annotations>\n")
