"""effiseg: small, fast segmentation models that are also good."""

__version__ = "0.1.0"
