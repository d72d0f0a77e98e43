"""What a pipeline needs outside of Kubernetes: topics, templates, tables. Clients block, so they
run in threads."""
