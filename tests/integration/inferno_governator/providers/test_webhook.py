"""A service of the user's: signed questions, asked again while it is away, and answers nobody has to believe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from inferno_runtime.errors import Denied, Exhausted, InfernoError, InvalidInput, Unauthenticated, Unavailable
from tests.integration.inferno_governator.providers.webhook_world import WebhookWorld
from tests.integration.inferno_governator.providers.world import living


async def test_a_service_that_stumbles_is_asked_again_with_the_same_key(webhook: WebhookWorld) -> None:
    provider = webhook.provider()
    webhook.answers = [web.Response(status=503), web.Response(status=500)]
    await provider.start("small-1", webhook.pool)
    assert webhook.asked == 3
    assert set(await living(provider)) == {"small-1"}


@pytest.mark.parametrize(
    ("status", "reaction", "reason"),
    [
        (400, InvalidInput, "BAD_POOL"),
        (401, Unauthenticated, "BAD_CREDENTIALS"),
        (403, Denied, "NOT_ALLOWED"),
        (429, Exhausted, "THROTTLED"),
        (507, Exhausted, "NO_CAPACITY"),
        (302, InvalidInput, "BAD_POOL"),
    ],
)
async def test_what_it_refuses_names_the_reaction_and_is_not_asked_again(
    webhook: WebhookWorld, status: int, reaction: type[InfernoError], reason: str
) -> None:
    webhook.answers = [web.Response(status=status, text="because")]
    with pytest.raises(reaction, match="because") as caught:
        await webhook.provider().start("small-1", webhook.pool)
    assert (caught.value.reason, webhook.asked, webhook.machines) == (reason, 1, {})


@pytest.mark.parametrize(
    "text", ["<html>", "{}", '{"nodes": [{"node": "a"}]}', '{"nodes": [{"node": "a", "pool": "p", "state": "odd"}]}']
)
async def test_a_list_that_is_none_is_no_empty_list(webhook: WebhookWorld, text: str) -> None:
    webhook.answers = [web.Response(text=text, content_type="application/json")]
    with pytest.raises(Unavailable, match="no list of nodes"):
        await webhook.provider().nodes()


async def test_without_the_secret_or_with_another_nothing_is_done(webhook: WebhookWorld, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other", "utf-8")
    for file, why in (("other", "signature is wrong"), ("missing", "cannot be read")):
        pool = replace(webhook.pool, options={**webhook.pool.options, "secret_file": str(tmp_path / file)})
        with pytest.raises(Unauthenticated, match=why):
            await webhook.provider(pool).start("small-1", pool)
    assert webhook.machines == {}
