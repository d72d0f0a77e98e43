"""spec.kibana: the Kibana that shows what is in Elasticsearch."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model
from webevents.spec.elasticsearch import NodeUrl
from webevents.spec.log_in import check_one_way_in


class KibanaTls(Model):
    """TLS to Kibana; files are PEM."""

    ca_file: str | None = None
    """Certificate authority that signed Kibana's certificate; the usual public ones when absent."""
    verify: bool = True
    """Whether certificate and host name are checked; false is for trials only."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.verify and self.ca_file is not None:
            raise ValueError("caFile has no use where verify is false: remove one of them")
        return self


class KibanaSpec(Model):
    """The Kibana into which the pipeline's data views and dashboards are loaded; secrets come from
    files or the environment, never from here."""

    enabled: bool = True
    """Whether the operator loads them, where it knows a Kibana."""
    url: NodeUrl | None = None
    """Kibana as https://host:5601, with its base path where it has one; the operator's own when
    absent."""
    space: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$", max_length=100)
    """The space that they are loaded into, which is made if it is not there; one with the
    pipeline's name when absent."""
    username: str | None = Field(default=None, min_length=1)
    """User of basic authentication; goes with passwordFile or passwordEnv."""
    password_file: str | None = None
    """File that holds the password."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    api_key_file: str | None = None
    """File that holds an API key in its encoded form."""
    api_key_env: str | None = None
    """Environment variable that holds an API key in its encoded form."""
    tls: KibanaTls | None = None
    """Certificates for https; the system's authorities when absent."""
    request_timeout: Duration = timedelta(seconds=60)
    """How long one request may take."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        passwords = [self.password_file, self.password_env]
        keys = [self.api_key_file, self.api_key_env]
        check_one_way_in(self.username, passwords, keys)
        if self.tls and self.url and self.url.startswith("http:"):
            raise ValueError("tls is set, but url begins with http: write https")
        if self.request_timeout < timedelta(seconds=1):
            raise ValueError("requestTimeout must be at least 1s")
        return self
