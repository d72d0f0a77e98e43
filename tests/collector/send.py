"""Send with the vendors' Python libraries: send.py HOST SECONDS; prints the identifiers."""

import json
import sys
import time

from segment.analytics.client import Client
from snowplow_tracker import Emitter, StructuredEvent, Subject, Tracker

host, seconds = sys.argv[1], float(sys.argv[2])
made: dict[str, list[str]] = {"python-segment": [], "python-snowplow": []}
problems: list[str] = []
analytics = Client(
    "YOUR_WRITE_KEY",
    host=host,
    gzip=True,
    max_retries=50,
    on_error=lambda error, batch: problems.append(str(error)),
)
subject = Subject().set_platform("srv").set_domain_user_id("python-snowplow-visitor")
emitter = Emitter(host, batch_size=5, max_retry_delay_seconds=2)
tracker = Tracker("py", emitter, app_id="YOUR_WRITE_KEY", subject=subject)
end = time.monotonic() + seconds
while time.monotonic() < end or not made["python-segment"]:
    taken, message = analytics.track(anonymous_id="python-segment-visitor", event="Clicked")
    assert taken, message
    made["python-segment"].append(message["messageId"])
    event = StructuredEvent(category="button", action="clicked")
    made["python-snowplow"].append(tracker.track(event))
    time.sleep(0.1)
analytics.join()
deadline = time.monotonic() + 120
while emitter.event_store.size() and time.monotonic() < deadline:
    tracker.flush()
    time.sleep(0.3)
if emitter.event_store.size():
    problems.append(f"{emitter.event_store.size()} events of Snowplow's tracker were not sent")
print(json.dumps({"made": made, "problems": problems}))
