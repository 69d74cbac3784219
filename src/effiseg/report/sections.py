"""From a study to the sections of its page: which figures and tables, in which order, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib import rc_context
from matplotlib.figure import Figure

from effiseg.errors import EffisegError
from effiseg.metrics.bootstrap import PairedDifference
from effiseg.report.charts import Chart, training_charts
from effiseg.report.class_tables import (
    class_iou_table,
    class_statistics_table,
    paired_table,
    settings_table,
    worst_images_table,
)
from effiseg.report.figures.class_distribution import class_distribution_figure
from effiseg.report.figures.class_iou import delta_figure, radar_figure
from effiseg.report.figures.confusion import confusion_figure
from effiseg.report.figures.curves import loss_figure, miou_figure, terms_figure
from effiseg.report.figures.paired import paired_figure
from effiseg.report.figures.pareto import pareto_figure
from effiseg.report.figures.samples import samples_figure
from effiseg.report.figures.style import STYLE, Gap
from effiseg.report.noise import clear_winner
from effiseg.report.pictures import SamplePictures, batch_picture, sample_pictures
from effiseg.report.results_table import results_table
from effiseg.report.study import Study
from effiseg.report.table import Table
from effiseg.visualization.palettes import Colour


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said of it."""

    name: str
    """Stem of its files."""
    title: str
    """Its subject, in a few words."""
    caption: str
    """How it is to be read."""
    figure: Figure
    """The drawing."""
    on_page: bool = True
    """False: only as a file; the page shows the same in another form."""


@dataclass
class Section:
    """A part of the page."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    drawings: list[Drawing] = field(default_factory=list)
    """Figures under each other."""
    choice: list[Drawing] = field(default_factory=list)
    """Figures of which the reader chooses one."""
    folded: list[Drawing] = field(default_factory=list)
    """Figures that open on demand."""
    tables: list[Table] = field(default_factory=list)
    """Tables under the figures."""
    pictures: list[SamplePictures] = field(default_factory=list)
    """Images and predictions."""
    charts: list[Chart] = field(default_factory=list)
    """Curves whose values show under the pointer."""
    batch: str | None = None
    """data: address of a training batch."""
    legend: list[tuple[str, Colour]] = field(default_factory=list)
    """Colours of the classes in the pictures."""

    @property
    def holds_something(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.all_drawings or self.tables or self.pictures or self.charts or self.batch)

    @property
    def all_drawings(self) -> list[Drawing]:
        """Every figure of the section."""
        return [*self.drawings, *self.choice, *self.folded]


class _Pen:
    """Draws what can be drawn of a study and notes the rest among its gaps."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __call__(
        self, name: str, title: str, caption: str, draw: Callable[[], Figure], on_page: bool = True
    ) -> list[Drawing]:
        try:
            with rc_context(STYLE):
                return [Drawing(name, title, caption, draw(), on_page)]
        except (Gap, EffisegError) as gap:
            self.study.gaps.append(f"{title}: {gap}")
            return []


def build_sections(
    study: Study, differences: list[PairedDifference], palette: Sequence[Colour], picture_bytes: int
) -> list[Section]:
    """Everything that can be drawn of a study; the rest is added to its gaps.

    Args:
        study: what was read.
        differences: its pairs of rows, see `effiseg.report.noise.study_differences`.
        palette: colours of the classes in pictures.
        picture_bytes: most bytes of pictures on the page.
    """
    pen = _Pen(study)
    sections = [
        _results(study, pen, differences),
        _curves(study, pen),
        _classes(study, pen),
        _paired(study, pen, differences),
        _confusion(study, pen),
        _training_batch(study),
        _pictures(study, pen, palette, picture_bytes),
        _settings(study),
    ]
    return [section for section in sections if section.holds_something]


def _results(study: Study, pen: _Pen, differences: list[PairedDifference]) -> Section:
    section = Section("results", "Results")
    if study.single:
        return section  # the answer and the classes say it all
    if study.rows:
        section.tables.append(results_table(study.result, study.label, clear_winner(study, differences)))
    else:
        study.gaps.append("results: no row has a score yet")
    section.drawings = pen(
        "pareto", "Score against cost",
        "Up and to the left is better. The dashed line is the Pareto front: no row is both cheaper and better than one "
        "on it. Costs that differ by no more than the timing's spread count as equal. A bubble's area grows with the "
        "row's parameters.",
        lambda: pareto_figure(study),
    )  # fmt: skip
    return section


def _curves(study: Study, pen: _Pen) -> Section:
    section = Section("training", "Training")
    section.drawings = pen(
        "val-miou", "mIoU on val while training", "A band spans the seeds of a row.", lambda: miou_figure(study)
    )
    section.drawings += pen(
        "loss", "Training loss",
        "The whole loss of each row, mean over the epoch. Losses of different kinds cannot be compared by height.",
        lambda: loss_figure(study),
    )  # fmt: skip
    section.charts = training_charts(study)
    section.folded = pen(
        "loss-terms", "Every term of every row's loss", "Terms as logged, before their weights.",
        lambda: terms_figure(study),
    )  # fmt: skip
    return section


def _classes(study: Study, pen: _Pen) -> Section:
    section = Section("classes", "Classes")
    if not study.single:
        section.drawings = pen(
            "class-delta", "Difference to the baseline by class",
            "Sorted by the students' mean difference; at the right the class's share of the training pixels.",
            lambda: delta_figure(study),
        )  # fmt: skip
        section.drawings += pen(
            "class-radar", "IoU by class", "One spoke a class, percent.", lambda: radar_figure(study)
        )
    section.drawings += pen(
        "class-distribution", "Pixels and weights of the classes",
        "Labeled pixels of the training split, logarithmic, and the weight each class gets in the losses.",
        lambda: class_distribution_figure(study),
    )  # fmt: skip
    if study.rows and study.names:
        section.tables.append(class_iou_table(study))
    if study.result.class_shares:
        section.tables.append(class_statistics_table(study))
    return section


def _paired(study: Study, pen: _Pen, differences: list[PairedDifference]) -> Section:
    section = Section("noise", "More than noise?")
    if differences:
        section.drawings = pen(
            "paired", "Differences to the baseline over images",
            "An interval that leaves out 0 is more than the choice of images; it says nothing of the training seed.",
            lambda: paired_figure(study, differences),
        )  # fmt: skip
        section.tables.append(paired_table(study, differences))
    return section


def _training_batch(study: Study) -> Section:
    section = Section("batch", "Training pictures")
    if study.batch is not None:
        try:
            section.batch = batch_picture(study.batch)
        except EffisegError as error:
            study.gaps.append(f"training pictures: {error}")
    return section


def _settings(study: Study) -> Section:
    section = Section("settings", "Settings")
    if study.settings:
        section.tables.append(settings_table(study.settings))
    return section


def _confusion(study: Study, pen: _Pen) -> Section:
    section = Section("confusion", "Confusion")
    for number, row in enumerate(study.rows):
        section.choice += pen(
            f"confusion-{number}-{slug(row.name)}", study.label(row.name),
            "Of the pixels of each class (line), the percentage taken for which class (column).",
            lambda row=row: confusion_figure(study, row),  # type: ignore[misc]
        )  # fmt: skip
    return section


def _pictures(study: Study, pen: _Pen, palette: Sequence[Colour], picture_bytes: int) -> Section:
    section = Section("pictures", "Pictures")
    if any(row.image_iou for row in study.rows):
        section.tables.append(worst_images_table(study))
    if study.samples is None:
        return section
    section.legend = list(zip(study.samples.names, palette, strict=True))
    try:
        section.pictures, left_out = sample_pictures(study.samples, palette, study.label, picture_bytes)
    except EffisegError as error:
        study.gaps.append(f"pictures: {error}")
        return section
    if left_out:
        study.gaps.append(f"pictures: {left_out} saved samples are left out, or the page would be too large")
    sheets = [("random", "Samples at random")]
    if not study.single:
        sheets.insert(0, ("differ", "Where the rows differ most"))
    for reason, title in sheets:
        section.drawings += pen(
            f"samples-{reason}", title, "Under each prediction its errors.",
            lambda reason=reason: samples_figure(study, reason, palette),  # type: ignore[misc]
            on_page=False,
        )  # fmt: skip
    return section


def slug(text: str) -> str:
    """Letters, digits and hyphens for a file name or an anchor."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in plain.split("-") if part) or "x"
