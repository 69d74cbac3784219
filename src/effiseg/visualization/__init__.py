"""Colours for classes and rows, and label maps as pictures; NumPy and Pillow alone."""
