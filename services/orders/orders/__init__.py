"""Orders: the API, the saga, payments, and the catalogue's read model."""
