"""Supervised losses, one a file: pure functions over logits and targets."""
