"""Every error a user can cause.

    EffisegError                 exit code 2, printed as one line without a traceback
    ├── UsageError               a command line or configuration that cannot be carried out
    ├── DataError                a data set, image or mask that breaks a rule
    ├── ModelError               a model folder or weights that cannot be used
    └── RunError                 a run folder in the wrong state (exists already, cannot be resumed, …)

A message says the rule, what was found, and the likely fix, and names the file. Bugs of ours are not
EffisegErrors: invariants are asserted and show their traceback.
"""


class EffisegError(Exception):
    """A mistake the user can mend; the message is one line for them to read."""


class UsageError(EffisegError):
    """A command line or configuration that cannot be carried out."""


class DataError(EffisegError):
    """A data set, image or mask that breaks a rule."""


class ModelError(EffisegError):
    """A model folder or weights that cannot be used."""


class RunError(EffisegError):
    """A run folder in the wrong state."""
