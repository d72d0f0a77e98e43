"""Sessions: which events belong together, and what their session's record says.

The rules, of which a session record is a pure function (docs/sessions.md has them with examples):

1. A partition's events are taken in the order of their offsets; those without a session key do
   not count. The partition's *stream time* is the greatest event time so far.
2. An event older than stream time minus ``allowedLateness`` is late and dropped.
3. An event with the same key, id and time as one before it is a duplicate and dropped.
4. Events of one key whose times lie at most ``gap`` apart form a *chain*.
5. A chain no longer than ``maxLength`` is one session. A longer one is cut at the multiples of
   ``maxLength`` since 1970 (UTC), one session each.
6. An event that would be one more than ``maxEvents`` in its session is dropped.

Nothing depends on the wall clock or on how the events were batched, so a replay of the same
partition gives the same records, and so does a computation over the whole of it at once.
"""
