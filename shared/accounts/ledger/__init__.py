"""Ledger: what projects have reserved, used and spent, exact on any number of instances."""
