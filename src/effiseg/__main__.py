"""`python -m effiseg` is the command `effiseg`."""

import sys

from effiseg.cli import main

sys.exit(main())
