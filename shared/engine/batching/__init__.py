"""Batches: what one has, in how many calls it is evaluated, and what rows and prompts cost."""
