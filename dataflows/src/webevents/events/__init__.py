"""The records on the topics: events, sessions, failed events; how they are decoded and checked."""
