"""Accounts: projects, their keys, what they may use, and who changed what."""
