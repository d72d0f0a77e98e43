"""Session windows in Flink's SQL. Usage: flink_sessions.py BOOTSTRAP SOURCE TARGET JARS CHECKPOINTS

The usual way: a table over the topic, a watermark of an hour as the sessionize stage's lateness, a
SESSION window by visitor, and an upsert of nothing: a window is written once, when it closes.
"""

import sys

from pyflink.table import EnvironmentSettings, TableEnvironment

bootstrap, source, target, jars, checkpoints = sys.argv[1:6]
environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
settings = environment.get_config()
settings.set("pipeline.jars", ";".join(f"file://{jar}" for jar in jars.split(",")))
settings.set("parallelism.default", "1")
settings.set("execution.checkpointing.interval", "1 s")
# The usual place of checkpoints, the job manager's memory, takes 5 MB.
settings.set("execution.checkpointing.storage", "filesystem")
settings.set("execution.checkpointing.dir", f"file://{checkpoints}")
settings.set("restart-strategy.type", "none")  # what fails is to be seen, not repeated
settings.set("taskmanager.memory.process.size", "4g")
settings.set("table.local-time-zone", "UTC")
environment.execute_sql(f"""
    CREATE TABLE events (
        user_domain_id STRING,
        event_timestamp STRING,
        event_time AS TO_TIMESTAMP(event_timestamp, 'yyyy-MM-dd HH:mm:ss.SSSSSS'),
        WATERMARK FOR event_time AS event_time - INTERVAL '1' HOUR
    ) WITH (
        'connector' = 'kafka', 'topic' = '{source}', 'format' = 'json',
        'properties.bootstrap.servers' = '{bootstrap}', 'properties.group.id' = 'flink-{target}',
        'scan.startup.mode' = 'earliest-offset'
    )""")
environment.execute_sql(f"""
    CREATE TABLE sessions (
        session_key STRING, first_ms BIGINT, last_ms BIGINT, total_events BIGINT
    ) WITH (
        'connector' = 'kafka', 'topic' = '{target}', 'format' = 'json',
        'properties.bootstrap.servers' = '{bootstrap}'
    )""")
environment.execute_sql("""
    INSERT INTO sessions
    SELECT user_domain_id,
           1000 * UNIX_TIMESTAMP(CAST(MIN(event_time) AS STRING)),
           1000 * UNIX_TIMESTAMP(CAST(MAX(event_time) AS STRING)),
           COUNT(*)
    FROM TABLE(SESSION(TABLE events PARTITION BY user_domain_id, DESCRIPTOR(event_time),
                       INTERVAL '30' MINUTES))
    GROUP BY user_domain_id, window_start, window_end""").wait()
