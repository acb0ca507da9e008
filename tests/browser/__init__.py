"""Web pages of other origins in a real browser."""
