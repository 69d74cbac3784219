"""Scoring models, any other images→logits callable, and prediction files on a split."""
