"""The version, apart from the package, so that modules can say it without importing what imports them."""

__version__ = "0.1.0"
