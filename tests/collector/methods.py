"""Call every method of the vendors' Python libraries once: methods.py HOST."""

import sys
import time

from segment.analytics.client import Client
from snowplow_tracker import (
    Emitter,
    PageView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)

host = sys.argv[1]
analytics = Client("YOUR_WRITE_KEY", host=host)
visitor = {"anonymous_id": "python-visitor"}
analytics.page(name="Home", **visitor)
analytics.track(event="Clicked", **visitor)
analytics.identify("user-1", {"plan": "gold"}, **visitor)
analytics.screen("user-1", name="Start", **visitor)
analytics.group("user-1", "group-1", {"name": "Acme"}, **visitor)
analytics.alias("python-visitor", "user-1")
analytics.join()

for method in ("get", "post"):
    subject = Subject().set_platform("srv").set_domain_user_id("python-visitor")
    emitter = Emitter(host, method=method, batch_size=1)
    tracker = Tracker("py", emitter, app_id="YOUR_WRITE_KEY", subject=subject)
    tracker.track(PageView(page_url="https://shop.example/mug"))
    tracker.track(StructuredEvent(category="button", action="clicked"))
    schema = "iglu:example.shop/added/jsonschema/1-0-0"
    tracker.track(SelfDescribing(SelfDescribingJson(schema, {"sku": "mug"})))
    deadline = time.monotonic() + 60
    while emitter.event_store.size():
        assert time.monotonic() < deadline, f"not sent by {method}"
        tracker.flush()
        time.sleep(0.2)
