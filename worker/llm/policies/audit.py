"""The policy for the example goal: audit an installed Python environment with the file tools.

Round 1 reads each distribution, round 2 cross-references, round 3 writes audit.xlsx, summary.md and follow-up.ics;
a later round mends what the checks have sent back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.parser import HeaderParser
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from worker.llm.policies.steps import Result, Step, call, digest, read_all, write_json

Talk = Generator[list[Step], list[Result], None]
Facts = list[dict[str, Any]]
TOPICS = ("requirements", "licences", "modules", "changes")
OUTPUTS = ("audit.xlsx", "summary.md", "follow-up.ics")
MARK = "[audit]"


def recognises(goal: dict[str, Any]) -> bool:
    """Whether this goal is an audit of a Python environment."""
    objective = goal["contract"]["objective"].lower()
    return "audit" in objective and "python environment" in objective


def owns(brief: dict[str, Any]) -> bool:
    return bool(brief["brief"]["objective"].startswith(MARK))


def plan(goal: dict[str, Any]) -> Talk:
    """What is missing next: facts, findings, or the outputs."""
    patterns = [f"{name}/lib/python*/site-packages/*.dist-info" for name in goal["inputs"]]
    *found, facts, findings = yield [
        *(call("list_files", pattern=pattern, folders=True) for pattern in patterns),
        call("list_files", pattern="facts/*.json"),
        call("list_files", pattern="findings/*.json"),
    ]
    folders = sorted(row["path"] for result in found for row in result.data.get("files", ()))
    known = {row["path"] for row in facts.data.get("files", ())}
    missing = [folder for folder in folders if _facts_path(folder) not in known]
    if not folders:
        text = "no input holds a site-packages folder with installed distributions"
        yield [call("submit_plan", blocker={"reason": "configuration", "text": text})]
    elif missing:
        most = int(goal["left"]["subagents_in_a_round"])
        yield [
            _plan(
                "read every distribution: metadata, licence, requirements, file hashes",
                _readers(missing[:most]),
            )
        ]
    elif findings.data.get("total", 0) < len(TOPICS):
        yield [_plan("cross-reference the facts of all distributions", [_topic(topic) for topic in TOPICS])]
    else:
        yield [_plan("write the outputs from facts and findings", [_output(path) for path in OUTPUTS])]


def _plan(approach: str, subtasks: list[dict[str, Any]]) -> Step:
    return call("submit_plan", approach=approach, subtasks=subtasks)


def _readers(folders: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "title": _distribution(folder),
            "objective": f"{MARK} Read {folder}: metadata, licence, requirements, RECORD; check the file hashes.",
            "inputs": [folder],
            "tools": ["list_files", "read_file", "search_files", "check_hashes", "write_file"],
            "write_scope": [_facts_path(folder)],
            "expected": "name, version, licence, requirements, files checked and changed",
            "item": folder,
        }
        for folder in folders
    ]


def _topic(topic: str) -> dict[str, Any]:
    return {
        "title": f"cross-reference {topic}",
        "objective": f"{MARK} Cross-reference {topic} over facts/*.json.",
        "tools": ["read_files", "write_file"],
        "write_scope": [f"findings/{topic}.json"],
        "expected": "the findings, counted",
        "item": topic,
    }


def _output(path: str) -> dict[str, Any]:
    return {
        "title": f"write {path}",
        "objective": f"{MARK} Write {path} from facts/*.json and findings/*.json.",
        "write_scope": [path],
        "expected": "what was written",
        "item": path,
    }


def work(brief: dict[str, Any]) -> Talk:
    """One distribution, one cross-reference, or one output."""
    item = brief["brief"]["item"]
    if item in TOPICS:
        return _cross_reference(item)
    if item in OUTPUTS:
        return {"audit.xlsx": _spreadsheet, "summary.md": _summary, "follow-up.ics": _invitation}[item]()
    return _read(item)


# --- round 1 --------------------------------------------------------------------------------------


def _read(folder: str) -> Talk:
    listing, metadata = yield [
        call("list_files", pattern=f"{folder}/**/*"),
        call("read_file", path=f"{folder}/METADATA"),
    ]
    names = {row["path"] for row in listing.data.get("files", ())}
    record = f"{folder}/RECORD"
    if not metadata.ok or record not in names:
        yield digest(f"{folder} has no METADATA or RECORD", outcome="partial", gaps=[f"{folder} can't be checked"])
        return
    sums, tops = yield [
        call("check_hashes", path=record),
        call("search_files", expression=r"^[A-Za-z_][\w-]*(/__init__\.py|\.py),", pattern=record),
    ]
    facts = _facts(folder, metadata.data["text"], sums.data, [row["text"] for row in tops.data.get("matches", ())])
    path = _facts_path(folder)
    yield [write_json(path, facts)]
    changed = len(facts["changed"]) + len(facts["missing"])
    yield digest(
        f"{facts['name']} {facts['version']}: {facts['licence']}, {len(facts['requires'])} requirements, "
        f"{facts['checked']} files checked, {changed} changed or missing",
        artifacts=[path],
        evidence=[f"check_hashes {record}"[:1900]],
    )


def _facts(folder: str, metadata: str, sums: dict[str, Any], tops: list[str]) -> dict[str, Any]:
    header = HeaderParser().parsestr(metadata)
    modules = {re.split(r"/|\.py,", line)[0] for line in tops}
    return {
        "folder": folder,
        "name": header.get("Name", _distribution(folder)),
        "version": header.get("Version", "?"),
        "licence": _licence(header.get_all("Classifier") or [], header),
        "requires": header.get_all("Requires-Dist") or [],
        "modules": sorted(modules),
        "checked": sums.get("checked", 0),
        "changed": sums.get("changed", []),
        "missing": sums.get("missing", []),
    }


def _licence(classifiers: list[str], header: Any) -> str:
    """By PEP 639's expression, else the classifier, else the first line of the free text."""
    if expression := header.get("License-Expression"):
        return str(expression).strip()
    named = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    if named:
        return " / ".join(named)
    text = (header.get("License") or "").strip()
    return text.splitlines()[0][:80] if text else "unknown"


def _facts_path(folder: str) -> str:
    return f"facts/{_distribution(folder)}.json"


def _distribution(folder: str) -> str:
    return folder.rpartition("/")[2].removesuffix(".dist-info")


# --- round 2 --------------------------------------------------------------------------------------


def _cross_reference(topic: str) -> Talk:
    facts = yield from _all_facts()
    rules = {"requirements": _unmet, "licences": _licences, "modules": _modules, "changes": _changes}
    findings = rules[topic](facts)
    path = f"findings/{topic}.json"
    yield [write_json(path, findings)]
    yield digest(f"{topic}: {len(findings)} findings over {len(facts)} distributions", artifacts=[path])


def _all_facts() -> Generator[list[Step], list[Result], Facts]:
    found = yield from read_all("facts/*.json")
    return [json.loads(text) for _, text in sorted(found.items())]


def _finding(kind: str, distribution: str, detail: str) -> dict[str, str]:
    return {"kind": kind, "distribution": distribution, "detail": detail}


def _unmet(facts: Facts) -> list[dict[str, str]]:
    """Requirements that no installed version meets (PEP 508); extras nobody asked for are left out."""
    versions = {canonicalize_name(fact["name"]): fact["version"] for fact in facts}
    found = []
    for fact in facts:
        for text in fact["requires"]:
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                found.append(_finding("requirement", fact["name"], f"can't be read: {text}"))
                continue
            if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                continue
            have = versions.get(canonicalize_name(wanted.name))
            if have is None:
                found.append(_finding("requirement", fact["name"], f"{wanted.name} isn't installed"))
            elif not wanted.specifier.contains(have, prereleases=True):
                found.append(_finding("requirement", fact["name"], f"{text}, but {have} is installed"))
    return found


def _licences(facts: Facts) -> list[dict[str, str]]:
    """What a distributor would look at: strong copyleft beside others, and licences that aren't stated."""
    found = []
    for fact in facts:
        licence = fact["licence"]
        lower = licence.lower()
        lesser = "lesser" in lower or "lgpl" in lower
        if licence == "unknown":
            found.append(_finding("licence", fact["name"], "states no licence"))
        elif not lesser and ("agpl" in lower or "affero" in lower or re.search(r"\bgpl|general public", lower)):
            found.append(_finding("licence", fact["name"], f"{licence}: strong copyleft beside permissive licences"))
    return found


def _modules(facts: Facts) -> list[dict[str, str]]:
    """Top-level modules that more than one distribution brings."""
    owners: dict[str, list[str]] = {}
    for fact in facts:
        for module in fact["modules"]:
            owners.setdefault(module, []).append(fact["name"])
    return [
        _finding("module", ", ".join(names), f"{module} is brought by {len(names)} distributions")
        for module, names in sorted(owners.items())
        if len(names) > 1
    ]


def _changes(facts: Facts) -> list[dict[str, str]]:
    found = []
    for fact in facts:
        found += [_finding("changed", fact["name"], f"{name} differs from its RECORD") for name in fact["changed"]]
        found += [_finding("missing", fact["name"], f"{name} is named in RECORD but gone") for name in fact["missing"]]
    return found


# --- round 3 --------------------------------------------------------------------------------------


def _all_findings() -> Generator[list[Step], list[Result], list[dict[str, str]]]:
    found = yield from read_all("findings/*.json")
    return [finding for _, text in sorted(found.items()) for finding in json.loads(text)]


def _spreadsheet() -> Talk:
    facts = yield from _all_facts()
    findings = yield from _all_findings()
    header = [
        "distribution",
        "version",
        "licence",
        "requirements",
        "files checked",
        "files changed",
        "files missing",
    ]
    rows = [
        [
            f["name"],
            f["version"],
            f["licence"],
            len(f["requires"]),
            f["checked"],
            len(f["changed"]),
            len(f["missing"]),
        ]
        for f in facts
    ]
    listed = [[f["kind"], f["distribution"], f["detail"]] for f in findings]
    sheets = [
        {"title": "distributions", "header": header, "rows": rows},
        {"title": "findings", "header": ["kind", "distribution", "detail"], "rows": listed},
    ]
    (written,) = yield [call("write_spreadsheet", path="audit.xlsx", sheets=sheets)]
    if not written.ok:
        yield digest(written.text[:1000], outcome="failed", gaps=["audit.xlsx was not written"])
        return
    yield digest(f"audit.xlsx: {len(rows)} distributions, {len(listed)} findings", artifacts=["audit.xlsx"])


def _summary() -> Talk:
    facts = yield from _all_facts()
    findings = yield from _all_findings()
    kinds = sorted({finding["kind"] for finding in findings})
    lines = [
        "# Audit of the Python environment",
        "",
        f"- Distributions: {len(facts)}",
        f"- Files checked: {sum(fact['checked'] for fact in facts)}",
        f"- Findings: {len(findings)}",
        *(f"  - {kind}: {sum(f['kind'] == kind for f in findings)}" for kind in kinds),
        "",
        "## Findings",
        "",
        *(f"- **{f['kind']}** {f['distribution']}: {f['detail']}" for f in findings),
        "",
        "Compiled by Pursuit's rehearsal model: a fixed policy, no language model. The numbers are computed from the",
        "files of the environment.",
    ]
    yield [call("write_file", path="summary.md", content="\n".join(lines) + "\n")]
    yield digest(f"summary.md over {len(facts)} distributions and {len(findings)} findings", artifacts=["summary.md"])


def _invitation() -> Talk:
    facts = yield from _all_facts()
    findings = yield from _all_findings()
    # a week from now, at nine; the policy may be asked twice, and either day will do
    day = (datetime.now(UTC) + timedelta(days=7)).replace(hour=9, minute=0, second=0, microsecond=0)
    step = call(
        "write_invitation",
        path="follow-up.ics",
        title="Follow-up: audit of the Python environment",
        start=day.isoformat(),
        minutes=30,
        description=f"{len(findings)} findings over {len(facts)} distributions; see audit.xlsx and summary.md.",
    )
    yield [step]
    yield digest(f"follow-up.ics for {day:%Y-%m-%d}", artifacts=["follow-up.ics"])
