"""OpenAI's administration API: request schemas and objects, without the HTTP around them."""
