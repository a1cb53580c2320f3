"""Named places at which a process can be told to die, one at every arrow of the protocol; for the tests.

`PURSUIT_CRASH=after_finish_before_publish` kills the process with SIGKILL when it first comes there,
`PURSUIT_CRASH=after_finish_before_publish:3` the third time. Without that variable `crash_point` is an empty function.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

#: what has happened when a process gets there, and what hasn't
POINTS = {
    "message_taken": "the broker has forgotten the message, the store knows nothing",
    "after_start_before_work": "the job is leased, nothing is done",
    "after_answer_before_journal": "a model's answer is paid for, not recorded",
    "after_tools_before_journal": "tools have had their effect, nothing says so",
    "after_start_of_tool": "it is recorded that a tool is begun, it isn't",
    "after_journal": "a step is recorded, its tools haven't run",
    "after_checks_before_judge": "checks were executed, the verdict isn't recorded",
    "after_artifacts_before_finish": "files are stored, the digest isn't",
    "after_work_before_finish": "the result is in hand, not recorded",
    "after_finish_before_publish": "the result is recorded, no message says what follows",
    "before_round_is_sent": "the chord is made, none of its messages is sent",
    "after_publish": "all is sent, Celery hasn't heard that the task is over",
    "after_question": "the question is in the inbox, the slot isn't free",
    "after_release": "the job is handed back, the slot isn't free",
    "after_wait": "the goal waits for its account, the slot isn't free",
    "after_retry": "the job waits for another try",
    "after_blob_before_compact": "an old round is in its blob, and still whole in Redis",
    "after_lead": "this process sweeps, others keep away",
    "after_sweep_before_publish": "the due index says published, nothing is",
    "after_beat": "leases are kept",
    "before_submit": "a goal has come by HTTP, nothing is saved",
    "after_submit_before_publish": "the goal is saved, no message says so",
    "after_submit_before_reply": "the goal is saved and published, who sent it doesn't know",
    "after_command_before_reply": "a person's command is carried out, the person doesn't know",
    "after_answer_before_publish": "a person's answer is recorded, no message says so",
}

VARIABLE = "PURSUIT_CRASH"


def _off(name: str) -> None:
    """Nothing."""


def _armed(wanted: str) -> Callable[[str], None]:
    name, _, number = wanted.partition(":")
    if name not in POINTS:
        raise SystemExit(f"{VARIABLE}: there is no crash point {name!r}; there are: {', '.join(POINTS)}")
    left, lock = [int(number or 1)], threading.Lock()

    def armed(here: str) -> None:
        if here != name:
            return
        with lock:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return armed


#: Dies here if this is the point that was asked for.
crash_point: Callable[[str], None] = _armed(os.environ[VARIABLE]) if VARIABLE in os.environ else _off
