"""How a comparison goes: every setting of `effiseg ablate`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal

from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError

_PAPER = ["baseline", "tanh", "tanh_linear", "kd", "dice_focal", "combined_paper"]
_RIVALS = ["kd_logit", "kd_feature", "cwd", "dist", "jaccard", "transkd", "review", "pairwise"]
_LOSSES = ["unweighted", "ce_dice", "ce_jaccard", "ohem", "rare_class"]
RECIPE_SETS = {
    "paper": _PAPER,
    "rivals": ["baseline", "kd", *_RIVALS],
    "losses": ["baseline", "dice_focal", *_LOSSES],
    "all": [*_PAPER, "tanh_taper", "combined", *_RIVALS, *_LOSSES],
}
"""Words that stand for rows: the paper's, distillers side by side, losses side by side, every row that ships."""
TEACHER_ROW = "teacher"
BASELINE_ROW = "baseline"


def teacher_row(number: int) -> str:
    """The row of a teacher, counted from 1: teacher, teacher_2, …"""
    return TEACHER_ROW if number == 1 else f"{TEACHER_ROW}_{number}"


@dataclass
class AblationConfig(TrainConfig):
    """Settings of one comparison: its own, and any training setting, which then holds for every row."""

    COMMON: ClassVar[dict[str, tuple[str, ...]]] = {
        "Files": ("data", "data_root", "out"),
        "Rows": ("recipes", "seeds", "teacher", "teacher_epochs", "budget", "split"),
        "Training": ("model.variant", "init", "epochs", "batch_size", "image_size", "augment", "optimizer.lr"),
        "Machine": ("device", "precision", "workers", "cache"),
    }
    budget: Literal["epochs", "time"] = "epochs"
    """Length of the rows: epochs gives all the same number of steps. time gives each as many as fit into the time of
    the baseline, by step times that are measured before any row, so let nothing else run; the teacher's forward
    counts."""
    split: str = "val"
    """Split on which the rows are compared, with their last weights."""
    recipes: list[str] = field(default_factory=lambda: [*_PAPER, "combined"])
    """Rows beside the teacher: recipes' names or YAML files, separated by commas; or one of paper, rivals,
    losses, all.
    Where `paper` is asked for, all rows start from random weights and the teacher is a B2, as in the paper."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Every row is trained once with each seed, the teacher once with the first."""
    teacher_recipe: str = "teacher"
    """Recipe of the teacher that is trained where --teacher gives none."""
    teacher_epochs: int | None = None
    """Epochs of that teacher; null takes the students'."""
    teacher_init: str | None = None
    """Weights that teacher starts from, as `init` for the other rows, which the teacher does not get."""
    latency_size: str | None = "512x1024"
    """Input at which every architecture's forward pass is timed, batch 1; null does not time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe != TrainConfig.recipe or self.seed != TrainConfig.seed:
            raise UsageError("a comparison has rows and repetitions: give --recipes and --seeds, not recipe and seed")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"seeds must be one or more different numbers; found {self.seeds}")
        if self.recipes == ["paper"] and self.init == "auto":
            self.init = "scratch"
        if len(self.recipes) == 1:
            self.recipes = list(RECIPE_SETS.get(self.recipes[0], self.recipes))
        rows = [Path(recipe).stem for recipe in self.recipes]
        if not rows or len(set(rows)) != len(rows):
            raise UsageError(f"recipes must be one or more of different names; found {', '.join(self.recipes)}")
        if any(re.fullmatch(rf"{TEACHER_ROW}(_\d+)?", row) for row in rows):
            raise UsageError("the teacher is a row already; leave it out of recipes")
        if self.budget == "time" and self.devices > 1:
            raise UsageError(f"budget time measures the steps of one process; found devices {self.devices}: take 1")
        if self.early_stop_epochs is not None or self.select != "last":
            raise UsageError("a comparison trains every row equally long and takes its last weights: "
                             "early_stop_epochs and select cannot be set")  # fmt: skip


OWN_SETTINGS = frozenset(item.name for item in fields(AblationConfig)) - {item.name for item in fields(TrainConfig)}
"""Names of the settings that concern the comparison and not the single run."""
