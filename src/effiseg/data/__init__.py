"""Data sets: description, pairs, augmentation, loading, statistics, and the embedded street scenes."""
