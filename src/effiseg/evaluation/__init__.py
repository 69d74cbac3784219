"""Scoring models and prediction files on a split."""
