from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from inferno_proxy.identity.tokens import Scope, Token, TokenState, TokenStore, Use
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import (
    Denied,
    Exhausted,
    Fenced,
    InfernoError,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.names import Role

PIN = "0" * 64
GPUS = Scope(Role.NODE, "gpu-*")
GPU_7 = Use("gpu-7", "key-7")
HOUR = 3600.0


class World:
    """A store over a file, and what an operator and a joiner do with it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.path = folder / "tokens.json"
        self.store = TokenStore(self.path, self.clock)

    def restart(self) -> None:
        self.store = TokenStore(self.path, self.clock)

    async def make(self, scope: Scope = GPUS) -> JoinToken:
        made, _ = await self.store.create(scope, HOUR, "operator ann", PIN)
        return made

    async def refused(self, shown: JoinToken, use: Use = GPU_7, role: Role = Role.NODE) -> InfernoError:
        with pytest.raises(InfernoError) as error:
            await self.store.use(shown, role, use)
        assert shown.secret not in error.value.sentence()
        return error.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_token_makes_one_member(world: World) -> None:
    made = await world.make()
    assert (await world.store.use(made, Role.NODE, GPU_7)).use == GPU_7
    error = await world.refused(made, Use("gpu-8", "key-8"))
    assert isinstance(error, Unauthenticated)
    assert error.reason == "TOKEN_USED"
    assert "was used by gpu-7" in error.message
    assert "--role node --name gpu-8" in error.fix


async def test_a_wrong_token_tells_nothing(world: World) -> None:
    made = await world.make()
    for wrong in (JoinToken(made.token_id, "s" * 32, PIN), JoinToken("abcdefgh", made.secret, PIN)):
        error = await world.refused(wrong)
        assert isinstance(error, Unauthenticated)
        assert error.reason == "TOKEN_WRONG"
        assert made.token_id not in error.sentence()


async def test_an_expired_token_says_when(world: World) -> None:
    made = await world.make()
    await world.clock.advance(HOUR)
    error = await world.refused(made)
    assert error.reason == "TOKEN_EXPIRED"
    assert "expired 2023-11-14 23:13:20 UTC" in error.message


@pytest.mark.parametrize(("role", "name"), [(Role.NODE, "cpu-1"), (Role.PROXY, "gpu-7"), (Role.NODE, "a-gpu-7")])
async def test_a_token_of_another_is_refused_and_stays_whole(world: World, role: Role, name: str) -> None:
    made = await world.make()
    error = await world.refused(made, Use(name, "key"), role)
    assert isinstance(error, Denied)
    assert error.reason == "TOKEN_OF_ANOTHER"
    assert "is for node gpu-*" in error.message
    assert (await world.store.use(made, Role.NODE, GPU_7)).use == GPU_7


async def test_a_revoked_token_is_refused(world: World) -> None:
    made = await world.make()
    assert (await world.store.revoke(made.token_id)).state(world.clock.wall()) is TokenState.REVOKED
    assert (await world.refused(made)).reason == "TOKEN_REVOKED"


async def test_a_clock_that_is_set_back_brings_no_token_back(world: World) -> None:
    made = await world.make()
    world.clock.jump_wall(HOUR)
    assert (await world.refused(made)).reason == "TOKEN_EXPIRED"
    world.clock.jump_wall(-2 * HOUR)
    assert (await world.refused(made)).reason == "TOKEN_EXPIRED"
    await world.store.use(await world.make(), Role.NODE, GPU_7)


async def test_who_lost_the_answer_may_ask_again_with_the_same_key(world: World) -> None:
    made = await world.make()
    await world.store.use(made, Role.NODE, GPU_7)
    world.restart()
    await world.store.use(made, Role.NODE, GPU_7)
    assert (await world.refused(made, Use("gpu-7", "other key"))).reason == "TOKEN_USED"
    await world.clock.advance(HOUR)
    assert (await world.refused(made)).reason == "TOKEN_USED"


async def test_a_crash_after_the_token_was_used_does_not_make_it_whole_again(world: World, tmp_path: Path) -> None:
    made = await world.make()
    before = tmp_path / "before"
    shutil.copy(world.path, before)
    await world.store.use(made, Role.NODE, GPU_7)
    assert before.read_bytes() != world.path.read_bytes()
    # The write was cut short: the next life finds the old file and, beside it, a part of the new one.
    shutil.copy(before, world.path)
    (tmp_path / "tokens.json.partial").write_bytes(b'{"format"')
    world.restart()
    assert (await world.store.use(made, Role.NODE, GPU_7)).use == GPU_7
    world.restart()
    assert (await world.refused(made, Use("gpu-8", "key-8"))).reason == "TOKEN_USED"


async def test_a_disk_that_fails_leaves_the_token_as_it_was(world: World) -> None:
    made = await world.make()
    partial = world.path.with_name("tokens.json.partial")
    partial.mkdir()
    error = await world.refused(made)
    assert isinstance(error, Unavailable)
    assert error.reason == "TOKENS_UNWRITABLE"
    partial.rmdir()
    assert (await world.store.use(made, Role.NODE, GPU_7)).use == GPU_7


async def test_the_file_holds_no_secret_and_is_for_its_owner_alone(world: World) -> None:
    made = await world.make()
    assert made.secret not in world.path.read_text()
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600


async def test_tokens_outlive_the_control_plane(world: World) -> None:
    made, revoked = await world.make(), await world.make(Scope(Role.CLIENT, "app"))
    await world.store.revoke(revoked.token_id)
    await world.store.use(made, Role.NODE, GPU_7)
    kept = world.store.tokens
    world.restart()
    assert world.store.tokens == kept
    assert [one.state(world.clock.wall()) for one in kept] == [TokenState.USED, TokenState.REVOKED]
    assert [one.creator for one in kept] == ["operator ann", "operator ann"]


@pytest.mark.parametrize(
    "content",
    [
        "garbage", "[]", '{"format": 2, "tokens": []}', '{"format": 1, "tokens": [{}]}',
        '{"format": 1, "tokens": [{"scope": {"role": "king", "pattern": "*"}, "use": null}]}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_no_token_counts(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens.json").write_text(content)
    assert World(tmp_path).store.tokens == ()
    assert (tmp_path / "tokens.corrupt").read_text() == content


async def test_what_was_used_is_not_revoked_and_what_is_not_there_neither(world: World) -> None:
    made = await world.make()
    await world.store.use(made, Role.NODE, GPU_7)
    with pytest.raises(Fenced) as used:
        await world.store.revoke(made.token_id)
    assert used.value.reason == "TOKEN_USED"
    with pytest.raises(NotFound) as unknown:
        await world.store.revoke("x" * 500)
    assert unknown.value.reason == "NO_SUCH_TOKEN"
    assert len(unknown.value.message) < 100


async def test_tokens_that_ended_are_forgotten_after_a_week(world: World) -> None:
    made = await world.make()
    await world.clock.advance(HOUR + 7 * 86_400 + 1)
    await world.make()
    assert [one.token_id == made.token_id for one in world.store.tokens] == [False]


async def test_there_is_a_most_of_tokens(world: World) -> None:
    token = Token("0", "", GPUS, 0, world.clock.wall() + HOUR, "x")
    fields = {"token_id": "", "digest": "", "scope": {"role": "node", "pattern": "gpu-*"}, "created": 0}
    fields |= {"expires": token.expires, "creator": "x", "use": None, "revoked": False}
    tokens = [{**fields, "token_id": str(number)} for number in range(10_000)]
    world.path.write_text(json.dumps({"format": 1, "tokens": tokens}))
    world.restart()
    with pytest.raises(Exhausted) as full:
        await world.make()
    assert full.value.reason == "TOO_MANY_TOKENS"


@pytest.mark.parametrize("seconds", [0, 0.5, 30 * 86_400 + 1, -1, float("nan")])
async def test_a_token_lives_between_a_second_and_a_month(world: World, seconds: float) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.store.create(GPUS, seconds, "x", PIN)
    assert refused.value.reason == "BAD_LIFETIME"


@pytest.mark.parametrize(
    ("role", "pattern"), [(Role.OPERATOR, "ann"), (Role.NODE, ""), (Role.NODE, "[a]"), (Role.NODE, "x" * 129)]
)
def test_a_scope_that_nobody_could_fill_is_refused(role: Role, pattern: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Scope(role, pattern)
    assert refused.value.reason == "BAD_SCOPE"
