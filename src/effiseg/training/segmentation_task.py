"""One training step: images → logits → loss terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from effiseg import losses
from effiseg.config.loss import LossConfig
from effiseg.config.training import TrainConfig
from effiseg.data.unlabeled import UnlabeledImages
from effiseg.losses.combo import combo_terms
from effiseg.losses.custom import Loss, custom_loss
from effiseg.losses.dice_focal import dice_focal_terms
from effiseg.losses.options import Averaging, PixelOptions
from effiseg.models.segformer import Features, SegFormer
from effiseg.models.taper import average_statistics, tapered_norms
from effiseg.training.optimization import build_optimizer
from effiseg.training.step_timing import StepTiming
from effiseg.training.tapering import gate_of_step


class SegmentationTask(L.LightningModule):
    """Supervised training of a SegFormer.

    Args:
        student: the network to train; its metadata says how images are normalized.
        config: the run's settings.
        class_weights: (K,) weights of the classes in the loss, or None for equal ones.
        loss: what to minimize where the settings name the loss `custom`; see `losses.custom.custom_loss`. The
            parameters of an nn.Module are trained and saved in checkpoints.
    """

    def __init__(
        self, student: SegFormer, config: TrainConfig, class_weights: Tensor | None, loss: Loss | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.student = student
        self.custom_loss = loss
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.ema: AveragedModel | None = None
        if config.ema_decay is not None:
            self.ema = AveragedModel(
                student, multi_avg_fn=partial(ema_average, decay=config.ema_decay), use_buffers=True
            )
            self.ema.requires_grad_(False)
        self.gate = 0.0
        self.latest_terms: dict[str, Tensor] = {}
        self.timing: StepTiming | None = None
        self.encode: Callable[[Tensor], Features] = student.forward_features
        self.decode: Callable[[Sequence[Tensor]], Tensor] = student.decode

    @property
    def evaluated_model(self) -> SegFormer:
        """The weights to evaluate and save: the average where there is one, else the student."""
        return self.student if self.ema is None else cast(SegFormer, self.ema.module)

    def trained_modules(self) -> list[nn.Module]:
        """Modules the optimizer updates."""
        return [self.student, *([self.custom_loss] if isinstance(self.custom_loss, nn.Module) else [])]

    def configure_model(self) -> None:
        """Compile the student's training passes where the run asks for it; evaluations run it as it is.

        On the CPU the head stays as it is: torch.compile writes the gradient of bilinear upsampling out as scattered
        additions, which cost more there than all it saves.
        """
        if not self.config.compile:
            return
        self.encode = torch.compile(self.student.forward_features, dynamic=False)
        if self.device.type != "cpu":
            self.decode = torch.compile(self.student.decode, dynamic=False)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note that the loader has given the batch; no other hook comes before the batch goes to the device."""
        if self.timing is not None:
            self.timing.end("data")
        return batch

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch: `image` (B, 3, H, W) uint8, `label` (B, H, W) uint8 with ignored pixels, and perhaps
        `unlabeled`.
        """
        terms = self.loss_terms(batch["image"], batch["label"], UnlabeledImages.of(batch))
        self.latest_terms = {name: value.detach() for name, value in terms.items()}
        return terms["loss"]

    def loss_terms(self, images: Tensor, labels: Tensor, unlabeled: UnlabeledImages | None = None) -> dict[str, Tensor]:
        """Scalars by name; `loss` is the total that is minimized."""
        assert unlabeled is None, "without a teacher there is nothing to learn from them"
        features = self.encode(self.student.metadata.normalize(images))
        return self.supervised_terms(self.decode(features.feature_maps), labels)

    def supervised_terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The supervised loss as `loss`."""
        return supervised_loss(
            logits,
            labels,
            self.config.loss,
            class_weights=self.class_weights,  # type: ignore[arg-type]
            ignore_index=self.student.metadata.ignore_index,
            across_processes=self.config.processes > 1,
            loss=self.custom_loss,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the trained modules; the learning rate is set before every step by the run's keeper."""
        optimizer = self.config.optimizer
        # Lightning refuses to clip for an optimizer that could unscale gradients itself, as the fused one could.
        fused = self.config.precision == "float32" or optimizer.gradient_clip_norm is None
        return build_optimizer(self.trained_modules(), optimizer, fused=fused)

    def begin_step(self, step: int, total_steps: int) -> None:
        """Set the gate of tapered norms for optimizer step `step` (0-based), or for an evaluation before it."""
        self.gate = gate_of_step(step, total_steps, self.config.taper)
        for norm in tapered_norms(self):
            norm.set_gate(self.gate)

    def after_optimizer_step(self) -> None:
        """Let the average follow the student; what tapered norms have measured is copied, it is an average already."""
        norms = tapered_norms(self.student)
        if norms and self.gate > 0 and self.config.processes > 1:
            average_statistics(norms)
        if self.ema is None:
            return
        self.ema.update_parameters(self.student)
        for norm, averaged in zip(norms, tapered_norms(self.ema), strict=True):
            for value, copy in zip(norm.statistics, averaged.statistics, strict=True):
                copy.copy_(value)


def ema_average(averages: list[Tensor], current: list[Tensor], updates: Tensor | int, *, decay: float) -> None:
    """Exponential moving average whose decay grows with the number of updates, min(decay, (1 + n) / (10 + n)).

    The ramp forgets the random initial weights also in short runs. Counters (integers) are copied.

    Args:
        averages: tensors of one dtype, changed in place.
        current: tensors of the same shapes, what to move towards.
        updates: n, how many updates there were before.
        decay: the largest decay, 0..1.
    """
    if not averages[0].is_floating_point():
        torch._foreach_copy_(averages, current)
        return
    n = float(updates)
    torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + n) / (10 + n)))


def supervised_loss(
    logits: Tensor,
    labels: Tensor,
    config: LossConfig,
    *,
    class_weights: Tensor | None,
    ignore_index: int,
    across_processes: bool = False,
    loss: Loss | None = None,
) -> dict[str, Tensor]:
    """The configured loss at the configured label resolution.

    Args:
        logits: (B, K, h, w) at a quarter or an eighth of the labels' resolution.
        labels: (B, H, W) uint8 class indices, or `ignore_index`.
        config: which loss and its knobs.
        class_weights: (K,) or None.
        ignore_index: label value that counts nowhere.
        across_processes: reduce over the global batch of all processes.
        loss: the user's own, where `config` names the loss custom.

    Returns:
        `loss`, and for dice_focal and combo also their two parts, unweighted.
    """
    if config.label_resolution == "quarter":
        # Whatever the network's stride: losses bring coarser logits to the labels' size.
        quarter = [math.ceil(side / 4) for side in labels.shape[-2:]]
        labels = F.interpolate(labels[:, None], quarter, mode="nearest")[:, 0]
    pixels = PixelOptions(ignore_index, upsample=True, across_processes=across_processes)
    averaging = Averaging(config.sums, config.classes)
    overlap: dict[str, Any] = {"smooth": config.smooth, "averaging": averaging, "pixels": pixels}
    focal: dict[str, Any] = {"gamma": config.gamma, "normalize_weights": config.normalize_weights}
    index: dict[str, Any] = {"alpha": config.tversky_alpha, "beta": config.tversky_beta}
    share = config.dice_weight
    match config.name:
        case "cross_entropy":
            total = losses.cross_entropy_loss(logits, labels, class_weights, pixels=pixels)
        case "dice":
            total = losses.dice_loss(logits, labels, **overlap)
        case "focal":
            total = losses.focal_loss(logits, labels, class_weights, **focal, pixels=pixels)
        case "dice_focal":
            return dice_focal_terms(logits, labels, class_weights, dice_weight=share, **focal, **overlap)
        case "combo":
            return combo_terms(logits, labels, class_weights, dice_weight=share, **overlap)
        case "combo_jaccard":
            return combo_terms(logits, labels, class_weights, dice_weight=share, overlap_name="jaccard", **overlap)
        case "ohem":
            total = losses.ohem_loss(logits, labels, class_weights, threshold=config.ohem_threshold, pixels=pixels)
        case "tversky":
            total = losses.tversky_loss(logits, labels, **index, **overlap)
        case "focal_tversky":
            total = losses.focal_tversky_loss(logits, labels, gamma=config.focal_tversky_gamma, **index, **overlap)
        case "custom":
            assert loss is not None, "a run with a custom loss is refused without one"
            total = custom_loss(
                loss, logits, labels, class_weights, ignore_index=ignore_index, across_processes=across_processes
            )
    return {"loss": total}
