"""Running models on images."""
