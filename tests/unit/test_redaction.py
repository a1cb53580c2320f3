"""Secrets by value and by shape; ordinary words stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.redaction import MARK, Redactor, from_environment


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnopqrstuvwxyz",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAABCDEFGHIJKLMNOP",
        "xoxb-1234567890-abcdef",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        "Bearer abcdefghijklmnopqrst",
    ],
)
def test_keys_are_known_by_their_shape(secret: str) -> None:
    assert Redactor().text(f"it is {secret} indeed") == f"it is {MARK} indeed"


def test_values_of_the_environment_are_known(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file-123\n")
    redactor = from_environment(
        {
            "MY_API_KEY": "plain-words-here",
            "DB_PASSWORD": 'quo"ted-pass',
            "REDIS": "redis://user:in-the-url-9@host/0",
            "OTHER_KEY_FILE": str(tmp_path / "key"),
            "PURSUIT_SECRETS": '["MY_API_KEY"]',
            "MONKEY": "bananas-are-fine",
            "SHORT_KEY": "abc",
        }
    )
    text = 'plain-words-here quo\\"ted-pass quo"ted-pass in-the-url-9 from-a-file-123'
    assert redactor.values(text) == " ".join([MARK] * 5)
    kept = 'bananas-are-fine abc ["MY_API_KEY"] a task-force of sk-words'
    assert redactor.text(kept) == kept


def test_a_log_line_is_clean() -> None:
    redactor = Redactor(["planted-secret-1"])
    line = redactor(None, "info", {"event": "planted-secret-1", "error": ValueError("planted-secret-1"), "n": 3})
    assert line == {"event": MARK, "error": MARK, "n": 3}
