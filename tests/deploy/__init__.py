"""The real ``sam deploy`` against an emulator of AWS; ``make test-deploy`` runs these tests."""
