"""Tests of `shared.json_schema`."""
