"""Procedural street scenes: a camera, a street, what stands beside it, who is on it, and the weather."""
