"""OpenAI's Responses API: its requests as chat completions, and answers as its responses."""
