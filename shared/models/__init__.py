"""Where models come from, and what is loaded."""
