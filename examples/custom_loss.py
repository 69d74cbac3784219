"""Train with a loss of your own: here one that trusts doubtful labels less.

    python examples/custom_loss.py --data my.yaml --out runs/noisy --q 0.7

A loss is a function or nn.Module `loss(logits, target)`, as torch's are. Parameters named `class_weights`,
`ignore_index`, … are filled in; see `effiseg.losses.custom.custom_loss`.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

import effiseg


def generalized_cross_entropy(logits: torch.Tensor, target: torch.Tensor, ignore_index: int, q: float) -> torch.Tensor:
    """(1 - p^q) / q of the true class, averaged over labelled pixels (Zhang and Sabuncu, 2018).

    q towards 0 is cross-entropy; q = 1 is the mean absolute error, which noise in the labels disturbs least.

    Args:
        logits: (B, K, H, W) float32.
        target: (B, H, W) int64, class index or `ignore_index`.
    """
    labelled = target != ignore_index
    p = logits.softmax(1).gather(1, target.masked_fill(~labelled, 0)[:, None])[:, 0]
    loss = (1 - p.clamp_min(1e-6) ** q) / q
    return (loss * labelled).sum() / labelled.sum().clamp_min(1)


def main() -> None:
    """Train, or go on, with the loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="YAML file of the data set")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write, or to go on with")
    parser.add_argument("--q", type=float, default=0.7)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image_size", default="512x512", help="network input, HEIGHTxWIDTH")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    loss = partial(generalized_cross_entropy, q=args.q)
    if args.out.exists():  # config.yaml says that the loss is the caller's, so the caller gives it again
        run = effiseg.resume(args.out, loss=loss)
    else:
        run = effiseg.train(
            data=args.data,
            out=args.out,
            loss=loss,
            epochs=args.epochs,
            image_size=args.image_size,
            batch_size=args.batch_size,
            workers=args.workers,
        )
    print(f"mIoU on val: {run.miou:.2f} %, model: {run.folder.model}")


if __name__ == "__main__":  # loader workers may import this file again
    main()
