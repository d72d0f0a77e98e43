// Sends with Segment's library for Node: node send.mjs HOST SECONDS; prints the identifiers.
import { Analytics } from "@segment/analytics-node";

const [host, seconds] = process.argv.slice(2);
const analytics = new Analytics({ writeKey: "YOUR_WRITE_KEY", host, flushAt: 5, maxRetries: 50 });
const sent = [], done = new Set(), problems = [];
analytics.on("error", (error) => problems.push(JSON.stringify(error)));
const end = Date.now() + Number(seconds) * 1000;
do {
  const messageId = `node-${process.pid}-${sent.length}`;
  sent.push(messageId);
  analytics.track({ anonymousId: "node-visitor", event: "Clicked", messageId },
    () => done.add(messageId));
  await new Promise((next) => setTimeout(next, 100));
} while (Date.now() < end);
await analytics.closeAndFlush({ timeout: 120_000 });
console.log(JSON.stringify({ made: sent, missing: sent.filter((id) => !done.has(id)), problems }));
