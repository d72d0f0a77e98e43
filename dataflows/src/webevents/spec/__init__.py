"""The typed model of a WebEventPipeline: the one source of schemas, plans and reference docs."""
