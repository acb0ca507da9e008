"""checkov's rules for the template; ``make scan`` runs these tests."""
