"""A partition of visitors that reads session records with commits and crashes, and its readers."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reference_analytics import Documents
from session_streams import PIPELINE, Action

from webevents.events.analytics import KINDS
from webevents.logic.analytics.tracker import PartitionVisitors
from webevents.logic.analytics.visits import read_record
from webevents.logic.documents import AnalyticsDocuments
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

_FIELDS = {kind: {field.name for field in fields} for kind, fields in KINDS.items()}


@dataclass
class Visitors:
    """A partition's owner, its compacted state, and what is in Elasticsearch."""

    spec: AnalyticsSpec
    sessions: SessionsSpec
    slack: timedelta = timedelta(0)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    state: dict[str, bytes] = field(default_factory=dict)
    note: dict[str, int] = field(default_factory=dict)
    documents: Documents = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    messages: int = 0

    def __post_init__(self) -> None:
        self._build = AnalyticsDocuments("").build
        self._own()

    def _own(self) -> None:
        self.visitors = PartitionVisitors(
            PIPELINE, self.spec, self.sessions, dict(self.note), self.slack
        )
        states = list(self.state.values())
        self.chance.shuffle(states)
        for state in states:
            self.visitors.restore(state)
        self._pending: list[Mapping[str, Any]] = []
        self._since_commit: Counter[str] = Counter()

    def run(self, records: Sequence[Mapping[str, Any]], what: Sequence[Action] = ()) -> None:
        """Read session records; each is followed by an action."""
        for number, record in enumerate(records):
            self._take(record)
            action = what[number % len(what)] if what else ""
            if action in ("commit", "publish", "restart"):
                self.commit()
            if action == "restart":
                self._own()
            elif action == "crash":
                again = self._pending
                self._own()
                for each in again:
                    self._take(each)
        self.commit()

    def _take(self, record: Mapping[str, Any]) -> None:
        self._pending.append(record)
        raw = json.dumps(record).encode()
        reason = self.visitors.add(*read_record(raw, bots=self.spec.bots))
        self._since_commit[reason or "accepted"] += 1

    def commit(self) -> None:
        """Commit, and have the readers see it."""
        made = self.visitors.commit()
        for _, raw in made.documents:
            document = self._build(raw)
            place = document.index[1:], document.id
            assert document.version is not None
            assert document.version > self.versions.get(place, 0), "a version must grow"
            self.versions[place] = document.version
            self.messages += 1
            if document.body is None:
                assert self.documents.pop(place, None) is not None, "retracted what nobody knew"
            else:
                body = json.loads(document.body)
                assert body.keys() <= _FIELDS[place[0].partition("-")[0]], "the mapping is strict"
                assert body.pop("version") == document.version
                known = body == self.documents.get(place)
                assert not known or place[0].startswith("attribution"), "told what is known"
                self.documents[place] = body
        for key, state in made.state:
            if state is None:
                assert self.state.pop(key, None) is not None, "a needless tombstone"
            else:
                self.state[key] = state
        assert len(self.state) == self.visitors.size
        self.note = self.visitors.note()
        self.counts += self._since_commit
        self._pending, self._since_commit = [], Counter()
