"""The command table, written by hand so that `effiseg --help` imports nothing heavy."""
