"""Colours of classes and how label maps are shown."""
