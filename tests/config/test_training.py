"""Every rule a run's or a comparison's settings must keep is one line before anything starts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from effiseg.config.command_line import parse_command
from effiseg.config.comparison import OWN_SETTINGS, AblationConfig
from effiseg.config.loss import DistillationConfig, LossConfig
from effiseg.config.model import ModelConfig
from effiseg.config.parsing import keyword_layers, make_settings
from effiseg.config.training import OptimizerConfig, TrainConfig
from effiseg.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "field", "wrong", "rule"),
    [
        (TrainConfig, "image_size", "512*", "image_size must be HEIGHTxWIDTH"),
        (TrainConfig, "image_size", "31x64", "image_size must be at least 32x32"),
        (TrainConfig, "image_size", "32x16385", "image_size must be at most 16384x16384; found 32x16385"),
        (TrainConfig, "epochs", 0, "epochs must be at least 1; found 0"),
        (TrainConfig, "batch_size", 0, "batch_size must be at least 1; found 0"),
        (TrainConfig, "accumulate", 0, "accumulate must be at least 1; found 0"),
        (TrainConfig, "accumulate", 3, "batch_size 8 must be a multiple of accumulate × devices = 3 × 1"),
        (TrainConfig, "devices", 0, "devices must be at least 1; found 0"),
        (TrainConfig, "devices", 3, "batch_size 8 must be a multiple of accumulate × devices = 1 × 3"),
        (TrainConfig, "workers", -1, "workers must be at least 0; found -1"),
        (TrainConfig, "workers", 10**9, "workers must be at most 256; found 1000000000"),
        (TrainConfig, "devices", 257, "devices must be at most 256; found 257"),
        (TrainConfig, "seed", -1, "seed must be at least 0"),
        (TrainConfig, "seed", 2**63, "seed must be at least 0 and less than 9223372036854775808"),
        (TrainConfig, "validate_every", -1, "validate_every must be at least 0"),
        (TrainConfig, "early_stop_epochs", 0, "early_stop_epochs must be at least 1"),
        (TrainConfig, "checkpoint_minutes", -1.0, "checkpoint_minutes must be at least 0"),
        (TrainConfig, "ema_decay", 1.0, "ema_decay must be greater than 0 and less than 1; found 1.0"),
        (TrainConfig, "ema_decay", 0.0, "ema_decay must be greater than 0 and less than 1; found 0.0"),
        (OptimizerConfig, "lr", 0.0, "optimizer.lr must be greater than 0; found 0.0"),
        (OptimizerConfig, "lr", math.nan, "optimizer.lr must be greater than 0; found nan"),
        (OptimizerConfig, "lr", math.inf, "optimizer.lr must be greater than 0 and finite; found inf"),
        (OptimizerConfig, "betas", [0.9], "optimizer.betas needs two numbers; found 1"),
        (OptimizerConfig, "betas", [0.9, 1.0], "optimizer.betas must be at least 0 and less than 1; found [0.9, 1.0]"),
        (OptimizerConfig, "eps", -1e-8, "optimizer.eps must be at least 0"),
        (OptimizerConfig, "weight_decay", -0.1, "optimizer.weight_decay must be at least 0"),
        (OptimizerConfig, "warmup_ratio", 1.1, "optimizer.warmup_ratio must be at least 0 and at most 1"),
        (OptimizerConfig, "power", -1.0, "optimizer.power must be at least 0"),
        (OptimizerConfig, "gradient_clip_norm", 0.0, "optimizer.gradient_clip_norm must be greater than 0"),
        (ModelConfig, "drop_path_rate", 1.0, "model.drop_path_rate must be at least 0 and less than 1"),
        (ModelConfig, "classifier_dropout", -0.1, "model.classifier_dropout must be at least 0 and less than 1"),
        (ModelConfig, "norm_eps", 0.0, "model.norm_eps must be greater than 0"),
        (LossConfig, "dice_weight", 1.1, "loss.dice_weight must be at least 0 and at most 1"),
        (LossConfig, "smooth", -1.0, "loss.smooth must be at least 0"),
        (LossConfig, "gamma", -1.0, "loss.gamma must be at least 0"),
        (LossConfig, "tversky_alpha", -1.0, "loss.tversky_alpha must be at least 0"),
        (LossConfig, "tversky_beta", -1.0, "loss.tversky_beta must be at least 0"),
        (LossConfig, "focal_tversky_gamma", 0.0, "loss.focal_tversky_gamma must be greater than 0"),
        (DistillationConfig, "kl_weight", -1.0, "distillation.kl_weight must be at least 0"),
        (DistillationConfig, "feature_weight", -1.0, "distillation.feature_weight must be at least 0"),
        (DistillationConfig, "patch_embedding_weight", math.nan, "distillation.patch_embedding_weight must be"),
        (DistillationConfig, "temperature", 0.0, "distillation.temperature must be greater than 0"),
        (DistillationConfig, "mse_weight", -1.0, "distillation.mse_weight must be at least 0"),
        (DistillationConfig, "cosine_weight", -1.0, "distillation.cosine_weight must be at least 0"),
        (
            DistillationConfig,
            "feature_stage_weights",
            [1.0] * 3,
            "distillation.feature_stage_weights needs four numbers, one for each stage; found 3",
        ),
        (
            DistillationConfig,
            "patch_embedding_stage_weights",
            [1.0, 1.0, -1.0, 1.0],
            "distillation.patch_embedding_stage_weights must be at least 0; found [1.0, 1.0, -1.0, 1.0]",
        ),
        (AblationConfig, "seeds", [], "seeds must be one or more different numbers; found []"),
        (AblationConfig, "seeds", [1, 1], "seeds must be one or more different numbers; found [1, 1]"),
        (AblationConfig, "recipes", [], "recipes must be one or more of different names"),
        (AblationConfig, "recipes", ["kd", "kd"], "recipes must be one or more of different names; found kd, kd"),
        (AblationConfig, "recipes", ["a/kd.yaml", "kd"], "found a/kd.yaml, kd"),
        (AblationConfig, "recipes", ["teacher", "kd"], "the teacher is a row already"),
        (AblationConfig, "seed", 1, "give --recipes and --seeds"),
        (AblationConfig, "recipe", "kd", "give --recipes and --seeds"),
        (AblationConfig, "early_stop_epochs", 3, "early_stop_epochs and select cannot be set"),
        (AblationConfig, "select", "best", "early_stop_epochs and select cannot be set"),
        (AblationConfig, "epochs", 0, "epochs must be at least 1"),
    ],
)
def test_rules(kind: type[Any], field: str, wrong: Any, rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**{field: wrong})
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bounds_themselves_are_allowed() -> None:
    TrainConfig(epochs=1, batch_size=1, workers=0, seed=0, validate_every=0, early_stop_epochs=1, checkpoint_minutes=0)
    OptimizerConfig(betas=[0.0, 0.0], eps=0, weight_decay=0, warmup_ratio=1, power=0)
    ModelConfig(drop_path_rate=0, classifier_dropout=0)
    LossConfig(dice_weight=1, smooth=0, gamma=0, tversky_alpha=0, tversky_beta=0)
    DistillationConfig(mse_weight=0, cosine_weight=0, feature_stage_weights=[0.0] * 4)


def test_scales_are_checked_against_the_preset() -> None:
    from effiseg.config.data import AugmentationConfig

    with pytest.raises(UsageError, match="scale_min <= scale_max"):
        TrainConfig(augmentation=AugmentationConfig(scale_max=0.9), augment="paper")
    assert TrainConfig(augmentation=AugmentationConfig(scale_max=0.9)).augmentation.scale_max == 0.9


def test_sizes_of_a_pass() -> None:
    config = TrainConfig(image_size="64x96", batch_size=24, accumulate=3, devices=2)
    assert config.input_size == (64, 96)
    assert config.batch_size_per_pass == 4


@pytest.mark.parametrize("name", ["kl_weight", "feature_weight", "patch_embedding_weight"])
def test_any_term_needs_a_teacher(name: str) -> None:
    assert not DistillationConfig().enabled
    assert DistillationConfig(**{name: 0.1}).enabled


def test_the_comparison_s_own_settings() -> None:
    own = {"split", "recipes", "seeds", "teacher_recipe", "teacher_epochs", "latency_size", "teacher_init", "budget"}
    assert own == OWN_SETTINGS


def test_teachers_are_given_one_after_another_or_as_a_list(tmp_path: Path) -> None:
    def parsed(*words: str) -> TrainConfig:
        return parse_command(TrainConfig, list(words), prog="effiseg train", description="", with_recipe=True)

    assert parsed().teachers == []
    assert parsed("--teacher", "a,b").teacher == "a,b"  # a path may hold a comma
    both = parsed("--teacher", "runs/a", "--teacher=runs/b", "--teacher_weights", "2,1")
    assert (both.teacher, both.teachers, both.teacher_weights) == (["runs/a", "runs/b"],) * 2 + ([2.0, 1.0],)
    assert parsed("--teacher", "null", "--teacher", "a").teacher == "a"
    for text, teacher in (("teacher: old", "old"), ("teacher: [one]", "one"), ("teacher: [x, y, z]", ["x", "y", "z"])):
        (tmp_path / "own.yaml").write_text(text + "\n")
        assert parsed("--config", str(tmp_path / "own.yaml")).teacher == teacher
        assert parsed("--config", str(tmp_path / "own.yaml"), "--teacher", "w").teacher == "w"
    layers = keyword_layers(TrainConfig, "effiseg.train", {"teacher": [tmp_path / "a", "b"]})
    assert make_settings(TrainConfig, *layers).teacher == [str(tmp_path / "a"), "b"]
    for weights, found in (([1.0], "needs a number for each teacher; found 1"), ([1.0, 0.0], "greater than 0")):
        with pytest.raises(UsageError, match=found):
            TrainConfig(teacher=["a", "b"], teacher_weights=weights)
