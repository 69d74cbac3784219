"""Models in the visitor's browser: the built page, and the folder that `effiseg export --format web` writes of it."""
