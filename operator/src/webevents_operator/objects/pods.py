"""The pods of a workload: restricted, probed, with their settings and secrets mounted."""

import json

from webevents.plan.model import Workload
from webevents.spec.secrets import SecretRef, references
from webevents_operator import names
from webevents_operator.kinds import Object
from webevents_operator.objects.frame import Frame, digest
from webevents_operator.objects.quantities import resources
from webevents_operator.objects.settings import SECRETS_FOLDER, live_references, settings_of

CONFIG_FOLDER = "/etc/webevents/config"
METRICS_PORT = 9090
USER = 10001
"""User and group of the workloads' processes, without a name in the image."""
GRACE_S = 30
"""Seconds that a pod has to end after it was asked to."""


def pod_template(frame: Frame, workload: Workload, config_map: str) -> Object:
    """The template of a workload's pods.

    :param config_map: holds the settings.
    """
    pods = frame.pipeline.spec.pods
    refs = references(workload.settings)
    # Those of live settings are mounted too, and read again when they change: nothing restarts.
    mounted = sorted({*refs, *live_references(frame, workload)})
    annotations = dict(pods.annotations) | {
        names.SETTINGS: digest(settings_of(workload)),
        **({names.SECRETS: _secrets_digest(frame, refs)} if refs else {}),
    }
    if counts := {topic: frame.partitions.get(topic) for topic in workload.reads}:
        annotations[names.PARTITIONS] = json.dumps(counts, sort_keys=True)
    spec: Object = {
        "automountServiceAccountToken": pods.service_account is not None,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.selector(frame.key, workload.name)},
            }
        ],
        "containers": [_container(frame, workload, mounted)],
        "volumes": [
            {"name": "config", "configMap": {"name": config_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            *(_secret_volume(secret, mounted) for secret in _secret_names(mounted)),
        ],
    }
    if pods.service_account is not None:
        spec["serviceAccountName"] = pods.service_account
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.tolerations:
        spec["tolerations"] = [
            each.model_dump(by_alias=True, exclude_none=True) for each in pods.tolerations
        ]
    if pods.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in pods.image_pull_secrets]
    own = names.labels(frame.key, workload.name)
    return {
        "metadata": {"labels": dict(pods.labels) | own, "annotations": annotations},
        "spec": spec,
    }


def _container(frame: Frame, workload: Workload, refs: list[SecretRef]) -> Object:
    pods, config = frame.pipeline.spec.pods, frame.config
    wanted = {str(name): asked for name, asked in (config.resources | pods.resources).items()}
    made: Object = {
        "name": workload.name,
        "image": pods.image or config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": ["webevents"],
        "args": _arguments(workload),
        "env": [
            {
                "name": "WEBEVENTS_INSTANCE",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            {"name": "WEBEVENTS_METRICS_PORT", "value": str(METRICS_PORT)},
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        # A node that is busy may take minutes to start a process; only then is it held alive.
        "startupProbe": _probe("/healthz", period=2, failures=150),
        "livenessProbe": _probe("/healthz", period=20, failures=3),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            *(
                {
                    "name": _volume_name(secret),
                    "mountPath": str(SECRETS_FOLDER / secret),
                    "readOnly": True,
                }
                for secret in _secret_names(refs)
            ),
        ],
    }
    if asked := resources(wanted.get(workload.name, config.usual_resources)):
        made["resources"] = asked
    return made


def _arguments(workload: Workload) -> list[str]:
    made = [*workload.command, "--settings", f"{CONFIG_FOLDER}/settings.json"]
    if workload.live:
        made += ["--live", f"{CONFIG_FOLDER}/live.json"]
    if not workload.group and workload.replicas and "replicas" not in workload.live:
        # Copies of a source share its volume, so each knows how many there are.
        made += ["--replicas", str(workload.replicas)]
    return made


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _secret_names(refs: list[SecretRef]) -> list[str]:
    return sorted({ref.name for ref in refs})


def _volume_name(secret: str) -> str:
    return f"secret-{digest(secret)[:10]}"


def _secret_volume(secret: str, refs: list[SecretRef]) -> Object:
    return {
        "name": _volume_name(secret),
        "secret": {
            "secretName": secret,
            # libpq wants a key that no other user can read: root's, readable by the pod's group.
            "defaultMode": 0o440,
            "items": [{"key": ref.key, "path": ref.key} for ref in refs if ref.name == secret],
        },
    }


def _secrets_digest(frame: Frame, refs: list[SecretRef]) -> str:
    return digest([[*ref, frame.secrets.get(ref, "")] for ref in refs])
