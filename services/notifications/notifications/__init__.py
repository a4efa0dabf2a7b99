"""Mails to customers and operators, and the count of what was sold."""
