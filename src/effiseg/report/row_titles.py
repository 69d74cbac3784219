"""Titles of the comparison's rows."""

import re

TEACHER = "teacher"
BASELINE = "baseline"

_TITLES = {
    TEACHER: "Teacher",
    BASELINE: "Baseline",
    "tanh": "+ Tanh",
    "tanh_linear": "+ Tanh + Linear",
    "kd": "+ KD",
    "dice_focal": "+ Dice-Focal",
    "combined": "+ all three",
    "combined_paper": "+ all three, the paper's",
}


def is_teacher(name: str) -> bool:
    """Whether a row is a teacher: `teacher`, and where several were given `teacher_2` and so on."""
    return re.fullmatch(rf"{TEACHER}(_\d+)?", name) is not None


def row_title(name: str) -> str:
    """The paper's name of a row of its own; any other row's own name."""
    if is_teacher(name) and name != TEACHER:
        return f"{_TITLES[TEACHER]} {name.removeprefix(f'{TEACHER}_')}"
    return _TITLES.get(name, name)
