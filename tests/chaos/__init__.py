"""Breaks a running Orderflow on purpose, and compares what came of it with what must come."""
