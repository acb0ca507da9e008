"""Continuous batching on llama.cpp; knows nothing of HTTP, OpenAI or AWS.

Imports point one way: engine -> scheduler -> kv_cache, sequence -> sampling, detokenizer -> llama.
Nothing is imported here, so that naming a plain type does not load llama.cpp.
"""

import os

# Both libraries read these once, when they are loaded.
# libgomp's workers would spin for milliseconds after every decode, on the core that the event loop
# needs. A short spin still bridges the gaps between a graph's operations.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# NumPy's BLAS starts a thread per core, for matrix products that nobody here asks of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
