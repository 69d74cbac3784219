"""The command table, written by hand so that `effiseg --help` imports nothing heavy."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One line of the table."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("train", "effiseg.commands.train", "Train or distil a model, or go on with an interrupted run."),
    Command("pretrain", "effiseg.commands.pretrain", "Make starting weights from pictures drawn on the way."),
    Command("evaluate", "effiseg.commands.evaluate", "Score a model, or label PNGs of any software, on a split."),
    Command("predict", "effiseg.commands.predict", "Label images, videos and streams with a model."),
    Command("export", "effiseg.commands.export", "Write a model as a file for an engine, or as a page."),
    Command("serve", "effiseg.commands.serve", "A page that runs models in browsers, and an HTTP interface."),
    Command("convert", "effiseg.commands.convert", "Make a model folder of others' weights, without training."),
    Command("push", "effiseg.commands.push", "Upload a model folder to the Hugging Face Hub."),
    Command("ablate", "effiseg.commands.ablate", "Train and compare teacher, baseline and every strategy."),
    Command("report", "effiseg.commands.report", "Runs and comparisons as one page, figures and tables."),
    Command("demo", "effiseg.commands.demo", "The comparison on embedded street scenes, in minutes."),
    Command("benchmark", "effiseg.commands.benchmark", "Time models in the engines that run them, in turns."),
    Command("inspect-norms", "effiseg.commands.inspect_norms", "Which norms may become DyT, which DyL: fits, figures."),
    Command("completion", "effiseg.commands.completion", "A script that makes a shell complete commands and options."),
    Command("data check", "effiseg.commands.data_check", "Name every fault of a data set, all at once."),
    Command("data stats", "effiseg.commands.data_stats", "Pixel shares per class and split, and class weights."),
    Command("data convert", "effiseg.commands.data_convert", "Write a data set of any format as label PNGs."),
    Command("data shard", "effiseg.commands.data_shard", "Write pictures, with masks or without, as tar shards."),
    Command("data synthesize", "effiseg.commands.data_synthesize", "Draw street scenes in the Cityscapes layout."),
)
