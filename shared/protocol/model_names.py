"""Model names: what the API's ``model`` field takes, and so what models can be called."""

MODEL_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._/:\-]*[A-Za-z0-9])?$"
