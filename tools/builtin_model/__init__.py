"""How pilotlight's built-in model is made: corpus, tokenizer, network, GGUF export, evaluation."""
