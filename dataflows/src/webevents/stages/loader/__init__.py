"""The batch loader: archived objects into PostgreSQL, each message once.

No dataflow but a workload beside the stages: it reads the object store, not Kafka.
"""
