"""Stored completions: what is kept of a request and its answer, and where. Knows no engine."""
