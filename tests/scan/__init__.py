"""checkov's rules for the template and the Dockerfile; ``make scan`` runs these tests."""
