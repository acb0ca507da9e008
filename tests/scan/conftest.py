"""checkov, which has an environment of its own. Without it there is nothing to collect here."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "CHECKOV" in os.environ else ["*"]
