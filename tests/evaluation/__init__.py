"""lm-eval against a real server; ``make test-lm-eval`` runs these tests."""
