"""Delivery of spend alerts: when spending is looked at, who delivers, webhooks."""
