"""Pictures in tar files of WebDataset's format, read by offsets that an index holds."""
