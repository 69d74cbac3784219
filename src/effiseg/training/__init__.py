"""The training task, its optimization, checkpoints and the trainer."""
