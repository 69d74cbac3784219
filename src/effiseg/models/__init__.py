"""The SegFormer family, its normalizations, and its files."""
