"""A store with realistic content: projects, keys, usage of a month, completions of all kinds."""
