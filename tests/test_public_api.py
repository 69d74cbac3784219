"""The public names are pinned: taking one away breaks users."""

from __future__ import annotations

import importlib

import pytest

PUBLIC = {
    "effiseg": [
        "Comparison", "DataError", "EffisegError", "EvaluationResult", "Interrupted", "ModelError",
        "Predictor", "PythonData", "ResourceError", "Run", "RunError", "SegFormer", "Segmentation",
        "UsageError", "__version__", "ablate", "check_data", "convert_data", "convert_model", "data_statistics",
        "distillation", "evaluate", "export_model", "export_site", "from_pretrained", "fuse", "inspect_norms",
        "losses", "predict", "pretrain", "push", "resume", "run_benchmark", "save_pretrained", "serve",
        "shard_data", "synthesize_scenes", "train", "write_report",
    ],
    "effiseg.losses": [
        "Averaging", "PixelOptions", "combo_loss", "cross_entropy_loss", "dice_focal_loss", "dice_loss",
        "focal_loss", "focal_tversky_loss", "ohem_loss", "tversky_loss",
    ],
    "effiseg.distillation": [
        "Distiller", "ExportedTeacher", "SegFormerTeacher", "Teacher", "WeightedTeacher", "WeightedTerm",
        "cosine_feature_loss", "kl_distillation_loss", "patch_embedding_loss",
    ],
}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert sorted(loaded.__all__) == sorted(PUBLIC[module])
    for name in PUBLIC[module]:
        assert getattr(loaded, name) is not None


def test_unknown_name() -> None:
    import effiseg

    with pytest.raises(AttributeError, match="SegFormr"):
        effiseg.SegFormr  # noqa: B018
