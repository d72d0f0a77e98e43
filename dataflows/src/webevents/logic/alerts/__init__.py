"""Alerts: counting by minute, what is usual, rules, and the life of an alert; no I/O."""
