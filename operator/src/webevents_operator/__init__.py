"""The operator: WebEventPipeline resources brought about on Kubernetes."""
