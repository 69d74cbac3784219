"""Segmentation metrics from one streamed confusion count."""
