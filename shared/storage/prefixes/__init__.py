"""Stores of prefixes: where the prefix cache keeps states beyond the process."""
