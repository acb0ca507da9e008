"""Continuous batching on llama.cpp; knows nothing of HTTP, OpenAI or AWS.

Imports point one way: engine -> step_loop -> planner -> evaluator -> sampling_step, speculation;
these and scheduler -> batching -> sequence -> kv_cache, sampling -> llama, types. ``mailbox`` is
between the threads. Nothing is imported here, so that naming a plain type does not load llama.cpp.
"""

import os

# Both libraries read these once, when they are loaded.
# How often libgomp's workers look before they sleep when they wait. llama.cpp's threads meet at
# every operation of a graph: where they sleep each time, a step of the 0.5 B model takes 1.3 times
# as long. Where another program has one of their cores, it takes ten times as long with 10,000 and
# a hundred times with libgomp's default, since all spin while the one they wait for has no core.
# It counts only as long as libgomp has no more threads than there are cores: each thread that
# computes with several has workers of its own. So one alone does, the engine's.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# NumPy's BLAS starts a thread per core, for matrix products that nobody here asks of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
