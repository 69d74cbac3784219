"""Typed settings: one dataclass a concern, a docstring per field, no torch."""
