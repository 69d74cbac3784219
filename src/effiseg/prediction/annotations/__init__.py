"""Predictions as annotation tools read them: one file a format, over the outlines of images."""
