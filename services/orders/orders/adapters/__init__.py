"""Postgres stores, AWS clients, and the payment gateway."""
