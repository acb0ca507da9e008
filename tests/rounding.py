"""Rounding of llama.cpp's kernels: how alike log probabilities of the same text are.

They differ with what else was evaluated in the same call, with what was cached, and with the
machine: on CPUs by up to 0.003 here, on a GPU by 0.024. A mistake makes more.
"""

LOGPROB_ROUNDING = 0.05
