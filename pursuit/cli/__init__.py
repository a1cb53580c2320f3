"""The command line: a client with a terminal."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Errors of the tree become two lines on stderr: what is wrong, what to do."""
    from pursuit.cli import changing  # noqa: F401  its commands register themselves
    from pursuit.cli.app import app
    from pursuit.errors import PursuitError

    try:
        app()
    except PursuitError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        for field in error.extra.get("errors", ()):
            print(
                f"  {field.get('field') or 'body'}: {field.get('problem')}. {field.get('action', '')}", file=sys.stderr
            )
        print(f"  {error.cure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
