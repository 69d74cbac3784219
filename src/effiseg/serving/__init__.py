"""A small server on the user's own machine: the page, and an HTTP interface that labels pictures."""
