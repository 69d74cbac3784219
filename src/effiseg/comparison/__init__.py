"""The ablation: rows trained and compared under one protocol."""
