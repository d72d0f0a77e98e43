"""The settings file of the loader, made by the plan."""

from webevents.spec.base import Model
from webevents.spec.postgres import PostgresSpec
from webevents.spec.s3 import LoaderSpec, S3Spec


class LoaderSettings(Model):
    """The loader of one pipeline."""

    pipeline: str
    prefix: str
    """What the objects' names begin with, before the pipeline's name."""
    loader: LoaderSpec
    s3: S3Spec
    postgres: PostgresSpec
