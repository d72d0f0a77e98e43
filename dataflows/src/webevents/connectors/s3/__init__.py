"""Objects in a store that speaks the S3 API; uploads that are repeated until they are done."""

from webevents.connectors.s3.store import ObjectStore, StoredObject, StoreError
from webevents.connectors.s3.uploads import Upload, Uploader

__all__ = ["ObjectStore", "StoreError", "StoredObject", "Upload", "Uploader"]
