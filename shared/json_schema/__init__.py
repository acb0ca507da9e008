"""JSON Schemas as callers' libraries write them, and as llguidance can follow them."""
