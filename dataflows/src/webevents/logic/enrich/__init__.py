"""Enrichment of events: what can be known about an event from itself and from offline data."""
