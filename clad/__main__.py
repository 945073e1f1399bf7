"""``python -m clad`` is ``clad``."""

from __future__ import annotations

import sys

from clad.cli.main import main

sys.exit(main())
