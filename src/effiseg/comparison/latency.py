"""The size of a comparison's rows, where a time is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from effiseg.benchmark.family import fitted
from effiseg.comparison.plan import changed_settings
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import read_settings
from effiseg.nested import merge_settings
from effiseg.run_folder import ComparisonFolder


def fitted_comparison(
    config: AblationConfig, shared: dict[str, Any] | None, message: Callable[[str], None]
) -> tuple[AblationConfig, dict[str, Any] | None]:
    """The settings with the size that `latency` asks for; of a comparison that was begun, with the size it has."""
    if config.latency is None:
        return config, shared
    folder = ComparisonFolder(config.out)
    if folder.settings.is_file():
        begun = read_settings(AblationConfig, folder.settings)
        asked = ("latency", "engine", "image_size")
        if all(getattr(begun, name) == getattr(config, name) for name in asked):
            model = replace(config.model, variant=begun.model.variant)
            config = replace(config, model=model, latency_found=begun.latency_found)
    config = fitted(config, message=message)
    found = {"model": {"variant": config.model.variant}, "latency_found": config.latency_found}
    return config, merge_settings(changed_settings(config) if shared is None else shared, found)
