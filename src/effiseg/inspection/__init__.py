"""Norms and their inputs: samples, linear and tanh fits, and which norm may take its place."""
