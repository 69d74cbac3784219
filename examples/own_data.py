"""Train on your own images and masks, and look at what the model makes of them.

    python examples/own_data.py --data my.yaml --out runs/own
    python examples/own_data.py --make discs --out runs/discs --epochs 20 --image_size 96x128

`--make FOLDER` writes a small data set first, as an example of the layout: pictures in images/, PNG masks of class
indices under the same names in labels/, and six lines of YAML.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import effiseg

YAML = """\
path: .
train: images/train
val: images/val
names: [background, disc, ring]
"""


def make_data(folder: Path, counts: dict[str, int], height: int = 96, width: int = 128) -> Path:
    """Pictures of discs and rings, with their masks. Returns the YAML file."""
    y, x = np.mgrid[:height, :width]
    for split, count in counts.items():
        for index in range(count):
            random = np.random.default_rng([len(split), index])
            label = np.zeros((height, width), np.uint8)
            image = random.normal(110, 25, (height, width, 3))
            for kind, colour in ((1, (220, 80, 60)), (2, (70, 110, 230))):
                centre = random.uniform(0.2, 0.8, 2) * (height, width)
                distance = np.hypot(y - centre[0], x - centre[1]) / random.uniform(12, 24)
                inside = (distance < 1) if kind == 1 else (distance < 1) & (distance > 0.5)
                label[inside] = kind
                image[inside] = colour + random.normal(0, 20, (inside.sum(), 3))
            for name, pixels in (("images", image.clip(0, 255).astype(np.uint8)), ("labels", label)):
                path = folder / name / split / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    (folder / "data.yaml").write_text(YAML)
    return folder / "data.yaml"


def main() -> None:
    """Make or take the data, train, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="YAML file of your data set")
    source.add_argument("--make", type=Path, metavar="FOLDER", help="write an example data set there and take that")
    parser.add_argument("--images", type=int, default=40, help="training images to make")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image_size", default="256x256", help="network input, HEIGHTxWIDTH")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    data = args.data or make_data(args.make, {"train": args.images, "val": max(2, args.images // 5)})
    run = effiseg.train(
        data=data,
        out=args.out,
        epochs=args.epochs,
        image_size=args.image_size,
        batch_size=args.batch_size,
        workers=args.workers,
    )
    print(f"mIoU on val: {run.miou:.2f} %")
    for name, iou in run.class_iou.items():
        print(f"  {name}: {'absent' if iou is None else f'{iou:.2f} %'}")
    print(f"model: {run.folder.model}; report with pictures: {run.report}")


if __name__ == "__main__":  # loader workers may import this file again
    main()
