"""Train a large teacher on your data, then a small student that learns from it, and one that does not.

    python examples/distil_own_teacher.py --data my.yaml --out runs/distilled
    python examples/distil_own_teacher.py --data my.yaml --out runs/distilled --teacher runs/my_teacher

A teacher that exists already is a run, a model folder or a transformers folder with the same classes.
`effiseg.ablate` compares all strategies at once; this is the shortest way to one distilled model.
"""

import argparse
from pathlib import Path

import effiseg


def main() -> None:
    """Train the three, print their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="YAML file of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for teacher/, baseline/ and student/")
    parser.add_argument("--teacher", help="a trained model; without it a B2 is trained first")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--image_size", default="512x512", help="network input, HEIGHTxWIDTH")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    shared = {
        "data": args.data,
        "epochs": args.epochs,
        "image_size": args.image_size,
        "batch_size": args.batch_size,
        "workers": args.workers,
    }
    teacher = args.teacher or effiseg.train(recipe="teacher", out=args.out / "teacher", **shared)
    baseline = effiseg.train(recipe="baseline", out=args.out / "baseline", **shared)
    student = effiseg.train(recipe="kd", teacher=teacher, out=args.out / "student", **shared)

    taught_by = effiseg.evaluate(teacher, args.data, workers=args.workers, image_size=args.image_size)
    print(f"teacher   {taught_by.miou:.2f} % mIoU on val")
    print(f"baseline  {baseline.miou:.2f} %")
    print(f"distilled {student.miou:.2f} %, in {student.folder.model}")


if __name__ == "__main__":  # loader workers may import this file again
    main()
