"""Speculative decoding: drafts of the next tokens, of which a step verifies several at once."""
