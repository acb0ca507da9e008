"""Prefix cache beyond the KV cells: states of prompts' beginnings in memory and in a store."""
