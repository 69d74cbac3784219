"""Results as tables, figures and one page, drawn from files alone: no torch, no network."""
