"""faust-streaming with its aiokafka driver. Usage: faust_app.py BOOTSTRAP SOURCE TARGET"""

import sys

import faust
from work import on_dict

bootstrap, source, target = sys.argv[1:4]
sys.argv[1:] = ["worker", "--loglevel=error", "--without-web"]
app = faust.App(
    f"faust-{target}", broker=f"kafka://{bootstrap}", value_serializer="json",
    consumer_auto_offset_reset="earliest", topic_allow_declare=False, topic_disable_leader=True,
    producer_linger_ms=20,
)  # fmt: skip
events = app.topic(source, key_type=bytes, key_serializer="raw")
results = app.topic(target, key_type=bytes, key_serializer="raw")
work = on_dict()


@app.agent(events)
async def enrich(stream):
    async for key, event in stream.items():
        await results.send(key=key, value=work(event))


app.main()
