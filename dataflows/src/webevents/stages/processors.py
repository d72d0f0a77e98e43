"""From a stage's settings to its processor."""

from typing import Any

from webevents.connectors.kafka_state import StateTopic
from webevents.stages.chunk import Processor
from webevents.stages.settings import StageSettings


def make_processor(settings: StageSettings, kafka: dict[str, Any]) -> Processor:
    """Make the processor of a stage; what a stage does not need is not imported.

    :param kafka: librdkafka settings to reach the cluster.
    """
    match settings.stage:
        case "capture":
            from webevents.stages.capture import CaptureProcessor

            return CaptureProcessor(settings)
        case "enrich":
            from webevents.stages.enrich import make_enrich

            return make_enrich(settings)
        case "sessionize":
            from webevents.stages.sessionize import SessionizeProcessor

            return SessionizeProcessor(settings, StateTopic(kafka, settings.group))
        case "analyze":
            from webevents.stages.analyze import AnalyzeProcessor

            return AnalyzeProcessor(settings, StateTopic(kafka, settings.group))
        case "index":
            from webevents.stages.index import make_index

            return make_index(settings, kafka)
        case "store":
            from webevents.stages.store import make_store

            return make_store(settings)
        case "archive":
            from webevents.stages.archive import make_archive

            return make_archive(settings)
        case "detect":
            from webevents.stages.detect import make_detect

            return make_detect(settings, kafka)
