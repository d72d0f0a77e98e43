"""The collector: an HTTP server that takes events of real websites and apps (docs/collect.md).

A request goes through these steps, each a module: its body is read (body), a protocol turns it into
drafts of events (segment, snowplow, plain, pixel), the facts of the request complete them (facts,
privacy), they are checked and encoded (finish), and delivered (delivery: Kafka, or the spool).
"""
