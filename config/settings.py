"""One class of settings: pursuit.toml, then PURSUIT_* variables, then flags. Secrets also as *_FILE."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from config.models import Profile, ProfileSettings, choose
from pursuit.blobs import Blobs
from pursuit.contract import Frozen
from pursuit.errors import NoRedis
from pursuit.folders import state_folder
from pursuit.store import Timing

PREFIX = "PURSUIT_"


class FileSecrets(PydanticBaseSettingsSource):
    """Reads a setting from the file that PURSUIT_<NAME>_FILE names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(f, name)[0] for name, f in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class McpServer(Frozen):
    """An MCP server: a command that speaks over its pipes, or an address of streamable HTTP.

    `${NAME}` in `env` and `headers` stands for the environment variable of that name.
    """

    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    for_all: bool = Field(False, description="every goal may use it, not only those that name it")
    effects: dict[str, Literal["read", "repeatable", "at_most_once"]] = Field(
        default_factory=dict, description="by tool; else as the server annotates it, else at_most_once"
    )
    policy: Literal["allow", "ask", "deny"] = "allow"


class Settings(BaseSettings):
    """What is in force. Times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="pursuit.toml", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    redis_url: SecretStr | None = Field(None, description="state; `up` and `run` start a private Redis without it")
    broker_url: SecretStr | None = Field(None, description="Celery's; default: the same server, next database")
    data: Path = Field(
        default_factory=lambda: state_folder(os.environ), description="workspaces, blobs, a private Redis"
    )
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8700, ge=0, le=65535, description="port of the API; 0: any free one")
    flower_port: int = Field(0, ge=0, le=65535, description="port of Flower; 0: any free one")
    workers: int = Field(0, ge=0, le=64, description="worker processes for sub-agents; 0: one a core")
    concurrency: int = Field(150, ge=1, le=1000, description="sub-agents in one worker process")
    model: str = Field("", description="provider:model; empty: the first provider with a key, else rehearsal")
    planner_model: str = Field("", description="another model for the planner; empty: the same")
    verifier_model: str = Field("", description="another model for the verifier; empty: the same")
    profiles: dict[str, ProfileSettings] = Field(
        default_factory=dict,
        description="models by name: provider, model, base_url, key_variable, window, prices, limits",
    )
    model_timeout: float = Field(300, gt=0, description="of one model call")
    model_stall: float = Field(90, gt=0, description="between two pieces of a streamed answer")
    subagent_seconds: float = Field(
        3600, gt=0, description="after which a sub-agent is asked to come to an end; a quarter more, and it has to"
    )
    rehearsal_seconds: float = Field(0.4, ge=0, description="pretended thinking time of the rehearsal model")
    commands: Literal["off", "checks", "all"] = Field(
        "all",
        description="what may run commands in the sandbox: nothing, checks written by people, or also the sub-agents' "
        "run_command tool; where there is no sandbox, nothing runs",
    )
    sandbox: Literal["bubblewrap", "none"] = Field(
        "bubblewrap", description="what commands run in; none: on the worker's machine as its user, at your own risk"
    )
    command_memory_mb: int = Field(2048, ge=64, description="of all processes of a command together")
    command_cpu_seconds: int = Field(600, ge=1, description="of all processes of a command together")
    tools: list[str] = Field(default_factory=list, description="more tools, by import path: package.module:function")
    tool_policy: dict[str, Literal["allow", "ask", "deny"]] = Field(
        default_factory=dict, description="by tool: use it freely, after a person's word each time, or not at all"
    )
    secrets: list[str] = Field(
        default_factory=list, description="environment variables that tools may use by name; models see the names only"
    )
    mcp_servers: dict[str, McpServer] = Field(
        default_factory=dict, description="MCP servers by name: command and args, or url; for_all, effects, policy"
    )
    search: str = Field("", description="who searches the web: searxng:<url>, tavily, brave, duckduckgo; empty: nobody")
    fetch_private: bool = Field(False, description="let fetch_page reach private and loopback addresses")
    blob_store: str = Field(
        "",
        description="where blobs are kept for workers on several machines: an address that fsspec takes, such as "
        "s3://bucket/pursuit (with its package installed); empty: only in the data folder",
    )
    input_roots: list[Path] = Field(
        default_factory=list, description="folders that goals may name inputs from; empty: any readable path"
    )
    shards: int = Field(4, ge=1, le=99, description="counts only at the very first start")
    lease: float = Field(30, gt=0, description="until a silent worker counts as dead")
    beat: float = Field(10, gt=0, description="between heartbeats; a third of the lease or less")
    sweep: float = Field(1, gt=0, description="between looks at the due index")
    redispatch: float = Field(15, gt=0, description="until an unstarted job is published again")
    chord_grace: float = Field(5, gt=0, description="until a verification goes on without its chord")
    attempts: int = Field(5, ge=1, description="attempts in a row that may end without having recorded anything")
    retention_days: float = Field(30, gt=0, description="how long final goals are kept")
    log_level: str = "INFO"
    log_json: bool = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, FileSecrets(settings_cls), env_settings, TomlConfigSettingsSource(settings_cls)

    def state_url(self) -> str:
        """Raises NoRedis where none is set: a Redis that happens to be on 6379 is somebody else's."""
        if self.redis_url is None:
            raise NoRedis("PURSUIT_REDIS_URL isn't set")
        return self.redis_url.get_secret_value()

    def transport_url(self) -> str:
        """The broker's URL: as set, else the same server's next database."""
        if self.broker_url:
            return self.broker_url.get_secret_value()
        parts = urlsplit(self.state_url())
        database = int(parts.path.strip("/") or 0) + 1
        return urlunsplit(parts._replace(path=f"/{database}"))

    def profile(self, name: str = "", role: str = "subagent") -> Profile:
        """The model of this name, or, without one, of a role. Raises ValueError, saying what to set."""
        own = {"planner": self.planner_model, "verifier": self.verifier_model}.get(role, "")
        return choose(name or own or self.model, profiles=self.profiles)

    def timing(self) -> Timing:
        return Timing(
            lease=self.lease,
            beat=self.beat,
            sweep=self.sweep,
            redispatch=self.redispatch,
            chord_grace=self.chord_grace,
            attempts=self.attempts,
            retention=self.retention_days * 86400,
        )

    @property
    def blobs(self) -> Path:
        return self.data / "blobs"

    def open_blobs(self) -> Blobs:
        return Blobs(self.blobs, self.blob_store)

    def workspace(self, goal: str) -> Path:
        return self.data / "goals" / goal


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
