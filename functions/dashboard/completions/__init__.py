"""Stored completions as pages show them: filters, lists, conversations, code that asks again."""
