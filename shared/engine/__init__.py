"""Continuous batching on llama.cpp; knows nothing of HTTP, OpenAI or AWS.

Imports point one way: engine -> scheduler -> kv_cache, sequence -> sampling, detokenizer -> llama.
Nothing is imported here, so that naming a plain type does not load llama.cpp.
"""
