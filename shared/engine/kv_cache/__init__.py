"""KV cache: whose cells are whose, which prompts share them, and who gives them up."""
