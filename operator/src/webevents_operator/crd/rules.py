"""What the API server itself refuses: rules in CEL, by the place that they hold for.

Each repeats a check of the specification's models, which hold on every runtime, or adds one that
only a server that knows the old object can make. A message names the mend.
"""

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """A rule of ``x-kubernetes-validations``."""

    rule: str
    message: str

    def rendered(self) -> dict[str, Any]:
        """The rule as the API server takes it."""
        return {"rule": self.rule, "message": self.message}


def _immutable(what: str) -> Rule:
    return Rule("self == oldSelf", f"{what} stays as it is; make a new pipeline for another one")


def _together(one: str, other: str) -> Rule:
    return Rule(
        f"has(self.{one}) == has(self.{other})", f"{one} and {other} go together: set both, or none"
    )


def _only_one(one: str, other: str) -> Rule:
    return Rule(f"!(has(self.{one}) && has(self.{other}))", f"set only one of {one} and {other}")


def _exactly_one(one: str, other: str) -> Rule:
    return Rule(f"has(self.{one}) != has(self.{other})", f"set exactly one of {one} and {other}")


_NEVER_SHRINK = Rule("self >= oldSelf", "partitions only grow: Kafka cannot take them away")
_CERTIFICATE = _together("certFile", "keyFile")
_CA_HAS_USE = Rule(
    "self.verify || !has(self.caFile)", "caFile has no use where verify is false: remove one"
)
_URL = (
    "^https?://[^@/?#]+:[0-9]{1,5}(/[^?#]*)?$",
    "a URL is written as https://host:9200, without user and password",
)

RULES: dict[str, tuple[Rule, ...]] = {
    "": (
        Rule(
            "self.metadata.name.size() <= 52 && !self.metadata.name.contains('.')",
            "the name has up to 52 characters and no dot: names of pods are made of it",
        ),
    ),
    "spec": (
        Rule(
            "!self.sessions.enabled || self.topics.raw.partitions <= "
            "self.topics.enriched.partitions",
            "topics.enriched.partitions must not be smaller than topics.raw.partitions",
        ),
        Rule(
            "!self.loader.enabled || self.archive.enabled",
            "loader.enabled needs archive.enabled: it loads archived objects",
        ),
        Rule(
            "!self.store.enabled || self.sessions.enabled || "
            "self.store.tables.all(t, t == 'processedEvents')",
            "store.tables names a table of sessions, but sessions.enabled is false",
        ),
        Rule(
            "!self.enrich.dropFields.exists(f, f in self.sessions.key)",
            "enrich.dropFields names a field that sessions.key needs: hash it instead "
            "(enrich.privacy.hashFields)",
        ),
        Rule(
            "!has(self.index.lifecyclePolicy) || self.elasticsearch.engine != 'opensearch'",
            "index.lifecyclePolicy is Elasticsearch's: take it out, and let an ISM policy of "
            "OpenSearch name the indices",
        ),
    ),
    "spec.kafka": (
        Rule(
            "!has(self.strimzi) || !(has(self.bootstrapServers) || has(self.tls) || "
            "has(self.sasl))",
            "strimzi goes without bootstrapServers, tls and sasl: remove them, or strimzi",
        ),
        Rule(
            "!has(self.sasl) || self.sasl.mechanism != 'PLAIN' || has(self.tls)",
            "sasl.mechanism PLAIN sends the password in clear: set tls as well",
        ),
    ),
    "spec.kafka.tls": (_CERTIFICATE,),
    "spec.kafka.sasl": (_exactly_one("passwordFile", "passwordEnv"),),
    "spec.topics": (
        Rule(
            "self.raw.name != self.enriched.name && self.raw.name != self.sessions.name && "
            "self.raw.name != self.failed.name && self.enriched.name != self.sessions.name && "
            "self.enriched.name != self.failed.name && self.sessions.name != self.failed.name && "
            "![self.raw.name, self.enriched.name, self.failed.name]"
            ".exists(n, n == self.sessions.name + '-state')",
            "raw, enriched, sessions (and its -state) and failed need own names",
        ),
    ),
    **{
        f"spec.topics.{topic}.{field}": (rule,)
        for topic in ("raw", "enriched", "sessions", "failed")
        for field, rule in (("name", _immutable("a topic's name")), ("partitions", _NEVER_SHRINK))
    },
    "spec.sessions.key": (
        _immutable("sessions.key"),
        Rule(
            "self.size() > 0 && self.all(f, self.exists_one(g, g == f))",
            "key needs at least one field, each once",
        ),
    ),
    "spec.elasticsearch": (
        Rule(
            "self.engine != 'opensearch' || !(has(self.apiKeyFile) || has(self.apiKeyEnv))",
            "OpenSearch has no API keys: set username and passwordFile",
        ),
        _only_one("apiKeyFile", "apiKeyEnv"),
        _only_one("passwordFile", "passwordEnv"),
        Rule(
            "!(has(self.apiKeyFile) || has(self.apiKeyEnv)) || !(has(self.username) || "
            "has(self.passwordFile) || has(self.passwordEnv))",
            "set either an API key or username and password, not both",
        ),
        Rule(
            "has(self.username) == (has(self.passwordFile) || has(self.passwordEnv))",
            "username goes with passwordFile or passwordEnv",
        ),
        Rule(
            "!has(self.tls) || !has(self.urls) || !self.urls.exists(u, u.startsWith('http:'))",
            "tls is set, but a URL begins with http: write https",
        ),
    ),
    "spec.elasticsearch.tls": (_CERTIFICATE, _CA_HAS_USE),
    "spec.elasticsearch.urls[]": (Rule(f"self.matches('{_URL[0]}')", _URL[1]),),
    "spec.index": (
        Rule(
            "!(self.events.prefix + '-').startsWith(self.sessions.prefix + '-') && "
            "!(self.sessions.prefix + '-').startsWith(self.events.prefix + '-')",
            "events.prefix and sessions.prefix must differ, and neither may begin with the other "
            "and a hyphen",
        ),
        Rule(
            "!has(self.events.fields) || self.unknownFields != 'fail'",
            "events.fields leaves out what it does not name, so unknownFields fail has no use: "
            "remove one of them",
        ),
    ),
    "spec.postgres": (_only_one("passwordFile", "passwordEnv"),),
    "spec.postgres.tls": (
        _CERTIFICATE,
        Rule("self.mode != 'verify-ca' || has(self.caFile)", "mode verify-ca needs caFile"),
    ),
    "spec.store.tables": (
        Rule(
            "self.size() > 0 && self.all(t, self.exists_one(u, u == t))",
            "needs at least one table, each once",
        ),
    ),
    "spec.s3": (
        _only_one("accessKeyFile", "accessKeyEnv"),
        _only_one("secretKeyFile", "secretKeyEnv"),
        Rule(
            "(has(self.accessKeyFile) || has(self.accessKeyEnv)) == "
            "(has(self.secretKeyFile) || has(self.secretKeyEnv))",
            "accessKeyFile or accessKeyEnv goes with secretKeyFile or -Env",
        ),
        Rule(
            "!has(self.tls) || !has(self.endpoint) || !self.endpoint.startsWith('http:')",
            "tls is set, but endpoint begins with http: write https",
        ),
    ),
    "spec.s3.tls": (_CA_HAS_USE,),
    "spec.enrich.privacy": (
        _only_one("hashKeyFile", "hashKeyEnv"),
        Rule(
            "self.hashFields.size() == 0 || has(self.hashKeyFile) || has(self.hashKeyEnv)",
            "hashFields needs a key: set hashKeyFile or hashKeyEnv",
        ),
    ),
    "spec.collector": (
        Rule(
            "self.port != 9090",
            "port 9090 of the pods is that of their metrics: choose another one",
        ),
        Rule(
            "!has(self.autoscaling) || self.onOutage != 'spool'",
            "autoscaling needs onOutage refuse: a copy that is taken away would leave its spool "
            "behind",
        ),
        Rule(
            "self.onOutage != 'spool' || oldSelf.onOutage != 'spool' || "
            "self.spool.volume == oldSelf.spool.volume",
            "spool.volume stays as it is while onOutage is spool: Kubernetes cannot change the "
            "volumes of pods",
        ),
    ),
    "spec.collector.sites[]": (
        Rule(
            "self.writeKeys.size() > 0 || has(self.writeKeysFile)",
            "set writeKeys or writeKeysFile: without a key nobody can send",
        ),
    ),
    "spec.alerts.receivers.*": (
        Rule(
            "[has(self.webhook), has(self.slack), has(self.pagerduty), has(self.alertmanager)]"
            ".exists_one(set, set)",
            "set exactly one of webhook, slack, pagerduty and alertmanager",
        ),
    ),
    "spec.alerts.receivers.*.webhook": (
        Rule(
            "[has(self.url), has(self.urlFile), has(self.urlEnv)].exists_one(set, set)",
            "set exactly one of url, urlFile and urlEnv",
        ),
        _only_one("tokenFile", "tokenEnv"),
    ),
    "spec.alerts.receivers.*.slack": (_exactly_one("urlFile", "urlEnv"),),
    "spec.alerts.receivers.*.pagerduty": (_exactly_one("routingKeyFile", "routingKeyEnv"),),
    "spec.collector.visitor": (_only_one("hashKeyFile", "hashKeyEnv"),),
    "spec.collector.visitor.cookie": (
        Rule(
            "self.sameSite != 'None' || self.secure",
            "sameSite None needs secure: browsers refuse it otherwise",
        ),
    ),
    "spec.collector.service": (
        Rule(
            "!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",
            "loadBalancerClass needs type LoadBalancer",
        ),
        Rule(
            "self.externalTrafficPolicy == 'Cluster' || self.type != 'ClusterIP'",
            "externalTrafficPolicy Local needs type NodePort or LoadBalancer",
        ),
    ),
    "spec.collector.service.acceptFrom[]": (
        Rule(
            "has(self.network) != (self.namespaceLabels.size() > 0 || self.podLabels.size() > 0)",
            "a peer is either a network, or has namespaceLabels or podLabels",
        ),
    ),
    "spec.collector.autoscaling": (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be greater than maxReplicas",
        ),
    ),
    "spec.generator": (
        Rule(
            "self.time.mode == 'wallClock' || self.eventsPerSecond > 0.0 || "
            "has(self.sessionsPerDay)",
            "eventsPerSecond must be above 0 unless time.mode is wallClock",
        ),
    ),
    "spec.generator.faults": (
        Rule(
            "self.duplicates + self.late + self.outOfOrder + self.corrupt <= 1.000000001",
            "duplicates + late + outOfOrder + corrupt must not exceed 1",
        ),
    ),
}

LIMITS: dict[str, dict[str, int]] = {
    # Bounds that only the estimated cost of the rules needs; no pipeline comes near them.
    "spec.elasticsearch.urls": {"maxItems": 50},
    "spec.elasticsearch.urls[]": {"maxLength": 500},
    "spec.collector.sites": {"maxItems": 500},
    "spec.s3.endpoint": {"maxLength": 500},
    "spec.store.tables": {"maxItems": 10},
    "spec.alerts.receivers": {"maxProperties": 50},
}


def add_rules(schema: dict[str, Any]) -> None:
    """Write the rules and limits into a structural schema.

    :raises KeyError: where a rule's place is not in the schema.
    """
    for path, limits in LIMITS.items():
        _at(schema, path).update(limits)
    for path, rules in RULES.items():
        _at(schema, path)["x-kubernetes-validations"] = [rule.rendered() for rule in rules]


def _at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    node = schema
    for step in filter(None, path.split(".")):
        if step == "*":
            node = node["additionalProperties"]
            continue
        name = step.removesuffix("[]")
        node = node["properties"][name]
        if step.endswith("[]"):
            node = node["items"]
    return node
