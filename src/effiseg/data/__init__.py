"""Data sets: description, pairs, augmentation, loading, statistics."""
