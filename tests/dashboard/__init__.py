"""The dashboard: its pages as browsers ask for them."""
