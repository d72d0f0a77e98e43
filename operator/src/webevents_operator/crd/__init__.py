"""The CustomResourceDefinition, made from the specification's models."""
