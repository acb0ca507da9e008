"""The clients of docs/clients.md against a real server; ``make test-clients`` runs these tests."""
