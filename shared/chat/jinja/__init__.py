"""Jinja for chat templates: a sandbox with bounds, in which the caller's text stays marked."""
