"""Costs: the tables of docs/costs.md, from prices and a measured speed."""
