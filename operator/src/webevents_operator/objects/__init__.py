"""The objects that a plan becomes on Kubernetes: pure functions, no I/O."""
