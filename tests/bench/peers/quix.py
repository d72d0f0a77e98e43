"""quixstreams, at least once. Usage: quix.py BOOTSTRAP SOURCE TARGET bytes|json"""

import sys

from quixstreams import Application
from work import on_bytes, on_dict

bootstrap, source, target, codec = sys.argv[1:5]
app = Application(
    bootstrap, consumer_group=f"quix-{target}", auto_offset_reset="earliest", loglevel="ERROR",
    producer_extra_config={"linger.ms": 20, "compression.type": "lz4"}, auto_create_topics=False,
)  # fmt: skip
events = app.topic(source, value_deserializer=codec)
results = app.topic(target, value_serializer=codec)
frame = app.dataframe(events)
if codec == "bytes":
    work = on_bytes()
    frame = frame.apply(lambda value: work(value)[1])
else:
    frame = frame.apply(on_dict())
frame.to_topic(results)
app.run()
