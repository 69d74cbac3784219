"""Drawn pictures with exact labels: the embedded street scenes."""
