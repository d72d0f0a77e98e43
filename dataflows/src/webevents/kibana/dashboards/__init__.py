"""The dashboards, in the order in which they are loaded."""

from webevents.kibana.dashboards.audience import GEOGRAPHY, SESSIONS, TECHNOLOGY
from webevents.kibana.dashboards.behaviour import FUNNEL, JOURNEYS, RETENTION
from webevents.kibana.dashboards.operation import PERFORMANCE
from webevents.kibana.dashboards.overview import ACQUISITION, OVERVIEW, STREAM
from webevents.kibana.dashboards.shop import SHOP
from webevents.kibana.dashboards.sites import SITES
from webevents.kibana.model import Dashboard

DASHBOARDS: tuple[Dashboard, ...] = (
    OVERVIEW,
    STREAM,
    ACQUISITION,
    JOURNEYS,
    FUNNEL,
    SESSIONS,
    GEOGRAPHY,
    TECHNOLOGY,
    RETENTION,
    PERFORMANCE,
    SHOP,
    SITES,
)
