"""``sam build`` and what it builds; ``make test-sam`` runs these tests."""
