"""Postgres, Step Functions and the wire formats."""
