"""One file a figure: a function from a study to a matplotlib figure, or a Gap that says why there is none."""
