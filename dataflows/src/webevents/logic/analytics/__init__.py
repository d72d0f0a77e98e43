"""Analytics: documents that are a pure function of the sessions of one visitor.

The rules (docs/analytics.md has them with examples):

1. A partition's session records are taken in the order of their offsets. The highest version of a
   session holds; a retracted one is none, nor is a bot's unless ``bots`` says so.
2. The partition's *stream time* is the greatest end of a session so far. A record of a session that
   began longer before it than sessions can change (``settle``) is late and dropped.
3. From the sessions that hold, :mod:`funnels`, :mod:`transitions`, :mod:`retention` and
   :mod:`attribution` each derive their documents.

Nothing depends on the wall clock, on the order of a visitor's records or on how they were batched.
"""
