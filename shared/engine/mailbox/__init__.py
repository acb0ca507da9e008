"""Mailbox of the engine's thread: requests of event loops in, within limits, and outputs out."""
