"""Anthropic's Messages API: its requests as chat completions, and answers as its messages."""
