"""The schema-and-formatter module: OpenAI's requests, responses, chunks and errors.

Both completions endpoints, on every platform, go through here. It knows the engine's plain types
(`shared.engine.types`) and nothing else of the engine.
"""
