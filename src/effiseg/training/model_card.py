"""The model card: README.md of a model folder, in the form the Hugging Face Hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from effiseg.config.model import NORM_TITLES, ModelConfig
from effiseg.config.training import TrainConfig
from effiseg.engines import FORMATS
from effiseg.errors import UsageError
from effiseg.files import read_json
from effiseg.models.metadata import ModelMetadata
from effiseg.report.table import Cell, Column, Table, escape_markdown, markdown, number_cell, text_cell
from effiseg.results import PROTOCOLS, EvaluationResult
from effiseg.run_folder import RunFolder


def model_card(run: RunFolder, config: TrainConfig, metadata: ModelMetadata, results: dict[str, Any]) -> str:
    """The card of a finished run's model.

    The licence is left out: only who owns weights and data can say it.

    Args:
        run: where its teacher's evaluation and class statistics lie.
        config: its settings.
        metadata: classes and input of the model.
        results: what results.json says.
    """
    evaluation = None if results.get("val") is None else EvaluationResult.from_dict(results["val"], run.results)
    name = escape_markdown(run.path.resolve().name)
    data = evaluation.dataset if evaluation is not None else Path(config.data).stem
    parts = [
        _front_matter(run.path.resolve().name, data, config.model, evaluation),
        f"# {name}\n\nA SegFormer-{config.model.variant.upper()} that labels every pixel of an image as one of "
        f"{metadata.num_classes} classes, trained with effiseg.\n",
        f"## Network\n\n{_network(config, metadata)}",
        f"## Training\n\n{_training(run, config, data, results)}",
        f"## Evaluation\n\n{_evaluation(evaluation, metadata, _class_shares(run))}",
        f"## Use\n\n{_USE}",
        "## Licence\n\nNot chosen yet: say here, and as `license` at the top of this file, what the owner of the "
        "weights allows. It may not go beyond what the training data and the weights it started from allow.\n",
    ]
    return "\n".join(parts)


def _front_matter(name: str, data: str, model: ModelConfig, evaluation: EvaluationResult | None) -> str:
    """The YAML between two lines of dashes, from which the Hub takes tags and results."""
    tags = ["image-segmentation", "semantic-segmentation", "segformer", "effiseg"]
    tags += [kind for kind in NORM_TITLES if kind != "layer_norm" and kind in (model.patch_norm, model.block_norm)]
    fields: dict[str, Any] = {"library_name": "effiseg", "pipeline_tag": "image-segmentation", "tags": tags}
    if evaluation is not None and evaluation.miou is not None:
        measured = {"mean_iou": ("mean IoU, %", evaluation.miou), "accuracy": ("pixel accuracy, %", None)}
        measured["accuracy"] = ("pixel accuracy, %", evaluation.pixel_accuracy)
        fields["metrics"] = list(measured)
        fields["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-segmentation", "name": "semantic segmentation"},
                        "dataset": {"name": data, "type": data, "split": evaluation.split},
                        "metrics": [
                            {"type": kind, "name": title, "value": round(value, 4)}
                            for kind, (title, value) in measured.items()
                            if value is not None
                        ],
                    }
                ],
            }
        ]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"


def _network(config: TrainConfig, metadata: ModelMetadata) -> str:
    model = config.model
    height, width = config.input_size
    resized, elsewhere = "scaled to exactly that", ""
    if config.resize == "keep_ratio":
        resized = "scaled to fit inside it"
        elsewhere = f"stretched to {height}x{width}: its processors have no counterpart to keeping the proportions"
    return _list(
        {
            "variant": f"SegFormer-{model.variant.upper()}",
            "norm after the patch embeddings": NORM_TITLES[model.patch_norm],
            "all other norms of the encoder": NORM_TITLES[model.block_norm],
            "input": f"{height}x{width} pixels (height x width), images are {resized}",
            "normalization": f"mean {list(metadata.mean)}, standard deviation {list(metadata.std)}, RGB from 0 to 1",
            **({"images in transformers": elsewhere} if elsewhere else {}),
        }
    )


def _training(run: RunFolder, config: TrainConfig, data: str, results: dict[str, Any]) -> str:
    optimizer = config.optimizer
    facts = {
        "data": f"{data}, split train",
        "recipe": Path(config.recipe).stem,
        "length": f"{results['epochs']} epochs, {results['steps']} steps of {config.batch_size} images",
        "loss": config.loss.name,
        "optimizer": f"AdamW, peak learning rate {optimizer.lr:g}, weight decay {optimizer.weight_decay:g}",
        "seed": str(config.seed),
        "weights taken": "of the last step" if config.select == "last" else f"of epoch {results['best_epoch']}, best",
    }
    if count := results.get("unlabeled_images"):
        facts["length"] += f", which {count} unlabeled pictures joined (repeats counted)"
    if config.ema_decay is not None:
        facts["weights taken"] += f", an exponential moving average (decay {config.ema_decay:g})"
    if config.init is not None:
        facts["started from"] = Path(config.init).name if Path(config.init).exists() else config.init
    for number, path in enumerate(config.teachers, 1):
        fact = "teacher" if number == 1 else f"teacher {number}"
        facts[fact] = Path(path).name if Path(path).exists() else path
        if (miou := _read(run.teacher_evaluation(number)).get("miou")) is not None:
            facts[fact] += f", {miou:.2f} % mIoU"
    return _list(facts)


def _evaluation(evaluation: EvaluationResult | None, metadata: ModelMetadata, class_shares: dict[str, float]) -> str:
    if evaluation is None:
        return "The data set has no split `val`; the model was not evaluated. Classes: " + (
            ", ".join(escape_markdown(name) for name in metadata.names) + ".\n"
        )
    miou = "–" if evaluation.miou is None else f"{evaluation.miou:.2f} %"
    pixels = "–" if evaluation.pixel_accuracy is None else f"{evaluation.pixel_accuracy:.2f} %"
    size = "x".join(map(str, evaluation.image_size or []))
    columns = [Column("class", "class", number=False), Column("IoU (%)", "iou")]
    rows: list[list[Cell]] = [[text_cell(name), number_cell(iou)] for name, iou in evaluation.class_iou.items()]
    if class_shares:
        columns.append(Column("share of training pixels (%)", "share"))
        for row in rows:
            share = class_shares.get(row[0].text)
            row.append(number_cell(None if share is None else 100 * share))
    return (
        f"**mIoU {miou}**, pixel accuracy {pixels}: {escape_markdown(evaluation.dataset)}, split {evaluation.split}, "
        f"{evaluation.images} images at {size}, one confusion matrix over the whole split, "
        f"{PROTOCOLS.get(evaluation.protocol, evaluation.protocol)}.\n\n"
        f"{markdown(Table('classes', 'IoU of every class', columns, rows))}"
    )


_USE = f"""\
```bash
effiseg predict MODEL photo.jpg --out labels
effiseg evaluate MODEL --data DATA.yaml
effiseg export MODEL --out model{FORMATS[0].suffix}
```

```python
import effiseg

model = effiseg.from_pretrained("MODEL")  # this folder, or its name on the Hugging Face Hub
```
"""


def _list(facts: dict[str, str]) -> str:
    return "".join(f"- {name}: {escape_markdown(value)}\n" for name, value in facts.items())


def _class_shares(run: RunFolder) -> dict[str, float]:
    """Class → share of the training pixels, where they were counted."""
    return _read(run.class_statistics).get("shares") or {}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except UsageError:  # a card needs none of them
        return {}
    return found if isinstance(found, dict) else {}
