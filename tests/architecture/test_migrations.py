"""The steps of the governator's database are one line: two that follow the same one would leave no order."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import inferno_governator.store

STEPS = Path(inferno_governator.store.__file__).with_name("migrations")


def test_the_steps_of_the_schema_have_one_end_and_are_numbered_in_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(STEPS))
    steps = ScriptDirectory.from_config(config)
    assert len(steps.get_heads()) == 1
    assert [step.revision for step in steps.walk_revisions()] == sorted(
        (path.stem.removeprefix("step_") for path in STEPS.glob("versions/step_*.py")), reverse=True
    )
