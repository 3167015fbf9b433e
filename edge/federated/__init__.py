"""Federated rounds (docs/federated.md): nodes, their coordinator, and the holder of the only secret key."""
