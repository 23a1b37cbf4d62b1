"""Small recordings of our own in the formats of other programs, for the tests."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import zstandard

NOT_RUN = {"raw_output": "", "returncode": -1, "exception_info": "action was not executed"}
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; cat answer"


# -- mini-swe-agent ----------------------------------------------------------------------------------------------------


def asked(*commands: str, said: str = "so", at: float | None = 1_800_000_000.0) -> dict[str, Any]:
    """A message of the model with commands."""
    calls = [
        {"id": f"{said}-{place}", "type": "function",
         "function": {"name": "bash", "arguments": json.dumps({"command": command})}}
        for place, command in enumerate(commands)
    ]  # fmt: skip
    actions = [{"command": command, "tool_call_id": f"{said}-{place}"} for place, command in enumerate(commands)]
    extra = {"actions": actions, "cost": 0.25, "timestamp": at}
    return {"role": "assistant", "content": said, "tool_calls": calls, "extra": extra}


def output(call: str, said: str = "", code: int = 0, **extra: Any) -> dict[str, Any]:
    """What a command gave."""
    more = {"raw_output": said, "returncode": code, "timestamp": 1_800_000_001.0, "exception_info": ""} | extra
    return {"role": "tool", "tool_call_id": call, "content": f"<returncode>{code}</returncode>", "extra": more}


def mini(*messages: dict[str, Any], status: str = "Submitted") -> dict[str, Any]:
    """A whole file."""
    told = {"role": "exit", "content": "", "extra": {"exit_status": status, "submission": ""}}
    return {
        "info": {
            "model_stats": {"instance_cost": 0.5, "api_calls": 2},
            "config": {"model": {"model_name": "some-model"}, "agent": {"step_limit": 9, "cost_limit": 0}},
            "mini_version": "2.4",
            "exit_status": status,
        },
        "messages": [
            {"role": "system", "content": "Help."},
            {"role": "user", "content": "Count the ducks."},
            *messages,
            told,
        ],
        "trajectory_format": "mini-swe-agent-1.1",
    }


# -- SWE-agent ---------------------------------------------------------------------------------------------------------


def swe(steps: list[dict[str, Any]], **info: Any) -> dict[str, Any]:
    """A whole file of the newer generation."""
    return {
        "trajectory": steps,
        "history": [{"role": "system", "content": "Help."}, {"role": "user", "content": "Mend the pond."}],
        "info": {"exit_status": "submitted", "model_stats": {"instance_cost": 0.5, "tokens_sent": 10}} | info,
        "replay_config": json.dumps({"agent": {"model": {"name": "some-model"}}}),
        "environment": "main",
    }


def swe_step(action: str, observation: str = "", *, ran: bool = True, query: str = "go on") -> dict[str, Any]:
    """A step; one that never ran has neither state nor time."""
    return {
        "action": action,
        "observation": observation,
        "response": "well",
        "thought": "well",
        "execution_time": 0.5 if ran else 0.0,
        "state": {"open_file": "/pond/duck.py", "working_dir": "/pond"} if ran else {},
        "query": [{"role": "user", "content": query}],
        "extra_info": {},
    }


# -- Inspect -----------------------------------------------------------------------------------------------------------


def called(
    call: str, command: str, *, ran: str | None = None, code: int | None = 0, **tool: Any
) -> list[dict[str, Any]]:
    """The events of one call: answer, span, tool, sandbox."""
    made = {"id": call, "function": "bash", "arguments": {"command": command}, "type": "function"}
    message = {"role": "assistant", "content": f"thought of {call}", "tool_calls": [made]}
    usage = {"input_tokens": 10, "output_tokens": 2}
    events: list[dict[str, Any]] = [
        {"event": "model", "model": "some/model", "input": [], "timestamp": "2026-01-02T03:04:05+00:00",
         "output": {"choices": [{"message": message}], "usage": usage}},
        {"event": "span_begin", "id": f"span-{call}", "parent_id": "top", "span_id": f"span-{call}", "type": "tool"},
        {"event": "tool", "span_id": "top", "id": call, "function": "bash", "arguments": {"command": ran or command},
         "result": f"output of {call}", "working_time": 0.5, "timestamp": "2026-01-02T03:04:06+00:00", **tool},
    ]  # fmt: skip
    if code is not None:
        events.append({"event": "sandbox", "span_id": f"span-{call}", "action": "exec", "cmd": command, "result": code})
    return events


def approval(call: str, decision: str, **more: Any) -> dict[str, Any]:
    """The word of an approver."""
    return {"event": "approval", "call": {"id": call}, "approver": "gate", "decision": decision, **more}


def scored(value: Any, *, intermediate: bool = False) -> dict[str, Any]:
    """A score."""
    return {"event": "score", "scorer": "right", "score": {"value": value}, "intermediate": intermediate}


def sample(ident: str | int, *events: dict[str, Any], epoch: int = 1, **more: Any) -> dict[str, Any]:
    """A sample."""
    return {"id": ident, "epoch": epoch, "input": "Count.", "started_at": "2026-01-02T03:04:05+00:00",
            "messages": [], "scores": {}, "events": list(events), **more}  # fmt: skip


LOG = {"version": 2, "status": "success", "eval": {"task": "ducks", "model": "some/model", "created": "2026-01-02"}}


def inspect_json(*samples: dict[str, Any]) -> bytes:
    """A log as JSON."""
    return json.dumps(LOG | {"samples": list(samples)}).encode()


def inspect_eval(*samples: dict[str, Any], method: int = 93, header: bool = True) -> bytes:
    """A log as a zip file; without a header the run broke off."""
    members = {"_journal/start.json": {name: LOG[name] for name in ("version", "eval")}}
    members |= {f"samples/{each['id']}_epoch_{each['epoch']}.json": each for each in samples}
    if header:
        members["header.json"] = LOG
    return zip_file({name: json.dumps(value).encode() for name, value in members.items()}, method)


def zip_file(members: dict[str, bytes], method: int = 93, size: int | None = None) -> bytes:
    """A zip file with all members compressed by a method, also one that Python cannot write: 93 is Zstandard."""
    body, directory = b"", b""
    for name, data in members.items():
        if method == 93:
            # Two frames, as of a writer that begins a new one now and then.
            half = len(data) // 2
            packed = b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:]) if part)
        else:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = deflate.compress(data) + deflate.flush()
        encoded = name.encode()
        told = len(data) if size is None else size
        common = struct.pack("<HHHHHLLLHH", 20, 0, method, 0, 33, zlib.crc32(data), len(packed), told, len(encoded), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + encoded
        body += b"PK\3\4" + common + encoded + packed
    count = len(members)
    return body + directory + b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, len(directory), len(body), 0)


# -- ATIF --------------------------------------------------------------------------------------------------------------


def atif(*steps: dict[str, Any], version: str = "ATIF-v1.7", **more: Any) -> dict[str, Any]:
    """A trajectory."""
    numbered = [{"step_id": place, "message": "", **step} for place, step in enumerate(steps, 1)]
    return {
        "schema_version": version,
        "session_id": "s",
        "agent": {"name": "a", "version": "1"},
        "steps": numbered,
        **more,
    }
