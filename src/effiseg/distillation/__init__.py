"""Distillation losses and the distiller that applies them."""
