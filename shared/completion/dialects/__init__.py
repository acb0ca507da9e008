"""Dialects of completions endpoints: OpenAI's chat and text completions, llama.cpp's."""
