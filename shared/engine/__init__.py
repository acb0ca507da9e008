"""Continuous batching on llama.cpp; knows nothing of HTTP, OpenAI or AWS.

Imports point one way: engine -> scheduler -> kv_cache, sequence -> sampling, detokenizer -> llama;
context -> llama; engine -> fit -> config, context, devices, memory.
Nothing is imported here, so that naming a plain type does not load llama.cpp.
"""

import os

# Both libraries read these once, when they are loaded.
# How long libgomp's workers spin when they wait. llama.cpp's threads meet at every operation of a
# graph: with a spin too short for that they sleep, and a step of the 0.5 B model takes up to twice
# as long (10,000 is already too short at times). The default, three times this, only holds the
# cores longer after a step, when the event loop needs one.
os.environ.setdefault("GOMP_SPINCOUNT", "100000")
# NumPy's BLAS starts a thread per core, for matrix products that nobody here asks of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
