"""Pages: a module for each, with its handlers and their paths in ``PAGES``."""
