"""What every norm does to its input: samples, linear and tanh fits, and which norm may take its place."""
