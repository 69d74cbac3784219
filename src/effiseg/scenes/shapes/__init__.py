"""Drawn pictures that are not streets: layered contours, lines and textures, whose class is a form, never a color."""
