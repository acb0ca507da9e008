"""Chat templates and tool formats: from messages to a prompt, and from answers to messages."""
