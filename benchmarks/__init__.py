"""Side-by-side benchmarks of pilotlight and the servers it is measured against.

``python -m benchmarks`` runs everything; ``README.md`` says how to read the tables.
"""

from pathlib import Path

CACHE_DIRECTORY = Path(__file__).parent / ".cache"
"""Holds what is generated or installed once: the 0.5 B model, the peers' environment, logs."""
