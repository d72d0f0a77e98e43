"""A person's messages in the archive: the objects that hold them are written again without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from webevents.connectors.s3 import ObjectStore, StoreError
from webevents.errors import UserError
from webevents.logic.objects import (
    CONTENT_TYPES,
    ArchivedRecord,
    DamagedObject,
    ObjectName,
    Replayed,
    make_builder,
    read_object,
    root_of,
)
from webevents.operations.erase.person import Person
from webevents.operations.erase.report import Place
from webevents.spec.pipeline import WebEventPipeline


class Archive:
    """The objects of a pipeline.

    :raises UserError: when the store's keys cannot be read.
    """

    def __init__(self, pipeline: WebEventPipeline) -> None:
        self._spec = pipeline.spec
        self._root = root_of(pipeline.spec.archive.prefix, pipeline.name)
        self._store = ObjectStore(pipeline.spec.s3)

    def place(self, person: Person) -> Place:
        """How many messages there are; what is found is learnt from."""
        found = objects = 0
        with _explained():
            for _key, _, messages in self._objects():
                mine = sum(person.of_message(message.value) for message in messages)
                found += mine
                objects += mine > 0
        note = f"in {objects:,} objects" if found else ""
        return Place("s3", f"{self._store.bucket}/{self._root}/", found, 0, found, "", note)

    def erase(self, person: Person, say: Callable[[str], None]) -> int:
        """Write the objects again without the person's messages, under their names.

        An object appears whole or not at all, so that a kill at any point leaves the old or the
        new one. One that held nothing else stays as an empty one: offsets are not left out.

        :returns: messages that were taken out.
        """
        erased = 0
        with _explained():
            for key, name, messages in self._objects():
                kept = [m for m in messages if not person.of_message(m.value)]
                if len(kept) == len(messages):
                    continue
                metadata = {
                    "first-offset": str(name.first),
                    "next-offset": str(messages[-1].offset + 1),
                }
                body = self._body(name, kept)
                self._store.put(key, body, CONTENT_TYPES[name.format], metadata)
                erased += len(messages) - len(kept)
                say(f"rewrote {key} without {len(messages) - len(kept):,} messages")
        return erased

    def _objects(self) -> Iterator[tuple[str, ObjectName, list[Replayed]]]:
        for stored in self._store.list(f"{self._root}/"):
            name = ObjectName.parse(stored.key, self._root)
            if name is None:
                continue
            body, _ = self._store.get(stored.key)
            try:
                yield stored.key, name, list(read_object(body, name.format))
            except DamagedObject as error:
                raise UserError(
                    f"the object {stored.key} is damaged ({error}): restore or remove it, then "
                    "run this again"
                ) from None

    def _body(self, name: ObjectName, messages: list[Replayed]) -> bytes:
        builder = make_builder(name.format, self._spec.archive.compression_level)
        for m in messages:
            record = ArchivedRecord(m.topic, m.partition, m.offset, m.timestamp)
            builder.add(record, m.key, m.value)
        return builder.finish()

    def close(self) -> None:
        """Let go of the connections."""
        self._store.close()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise UserError(f"the object store does not do what it is asked: {error}") from None
