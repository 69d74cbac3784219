"""Titles of the comparison's rows."""

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
}


def row_title(name: str) -> str:
    """The paper's name of a row of its own; any other row's own name."""
    return _TITLES.get(name, name)
