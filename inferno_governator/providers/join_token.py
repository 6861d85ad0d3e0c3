"""Asks for the token by which one new node joins the mesh: a program of the operator's makes it."""

from __future__ import annotations

import shlex
import subprocess

from inferno_governator.pools.pool import Pool
from inferno_runtime.errors import InvalidInput, Unavailable

_SECONDS = 60


def join_token(pool: Pool, command: str, node: str) -> str:
    """What the command prints, such as ``inferno token create --name {node}``. Blocks for as long as it runs.

    Raises:
        InvalidInput: The command cannot be started.
        Unavailable: It fails, takes longer than a minute, or prints nothing.
    """
    try:
        words = [word.replace("{node}", node) for word in shlex.split(command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (ValueError, OSError) as error:
        raise InvalidInput(
            f"Pool {pool.name!r}: join_token_command cannot be started: {error}.",
            reason="BAD_POOL",
            fix="Write it as in a shell: inferno token create --name {node}.",
        ) from error
    except subprocess.TimeoutExpired:
        raise _no_token(pool, f"takes longer than {_SECONDS} s") from None
    token = done.stdout.strip()
    if done.returncode or not token:
        said = " ".join(done.stderr.split())[:200]
        raise _no_token(pool, f"ended with status {done.returncode}: {said or 'it printed no token'}")
    return token


def _no_token(pool: Pool, why: str) -> Unavailable:
    return Unavailable(
        f"Pool {pool.name!r}: join_token_command {why}.",
        reason="NO_JOIN_TOKEN",
        fix="Run it by hand to see why. Nothing was started.",
    )
