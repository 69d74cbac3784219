"""Label every image of a folder: an overlay of each, and a table of how much of it every class covers.

    python examples/predict_folder.py runs/own/model holiday_pictures --out labelled

MODEL is a run, a model folder, a transformers folder, a Hub id, or an exported .onnx or .xml file.
"""

import argparse
import csv
from pathlib import Path

from PIL import Image

import effiseg

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def main() -> None:
    """Label image by image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the images are")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    args = parser.parse_args()

    predictor = effiseg.Predictor(args.model, device=args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "areas.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", *predictor.metadata.names])
        for path in sorted(args.folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES:
                continue
            try:
                found = predictor(path)
            except effiseg.DataError as error:  # one broken file does not stop the others
                print(f"skipped: {error}")
                continue
            Image.fromarray(found.overlay()).save(args.out / f"{path.stem}.jpg", quality=90)
            table.writerow([path.name, *(f"{share:.4f}" for share in found.areas().values())])
            print(f"{path.name}: mostly {max(found.areas().items(), key=lambda area: area[1])[0]}")


if __name__ == "__main__":
    main()
