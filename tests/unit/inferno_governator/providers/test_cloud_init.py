"""The script that an instance runs at each boot, run by a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.cloud_init import Boot, script, user_data

CURL = """#!/bin/sh
for last; do :; done
case "$last" in
  */api/token) echo key ;;
  */tags/instance/inferno-node) echo small-1 ;;
  */local-ipv4) echo 10.0.0.7 ;;
  *) exit 22 ;;
esac
"""


def test_a_booting_machine_becomes_the_node_that_its_tag_names(tmp_path: Path) -> None:
    pool = Pool("small", "aws", ("a b", "c"), micros_per_hour=800_000)
    boot = Boot(pool, "lb:8443", "a token", "s3://models", "--grpc-port 8001 --labels 'x=y z'")
    for name, text in (("curl", CURL), ("systemd-run", '#!/bin/sh\nfor each; do echo "<$each>"; done\n')):
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", script(boot)], env=env, capture_output=True, text=True, check=True)
    words = [line[1:-1] for line in done.stdout.splitlines()]
    assert words[words.index("inferno-backend") :] == [
        *("inferno-backend", "--node-id", "small-1", "--host", "0.0.0.0", "--advertise-host", "10.0.0.7"),
        *("--data-dir", "/var/lib/inferno/node", "--discovery-lb", "lb:8443"),
        *("--join-token-file", "/var/lib/inferno/join-token", "--model-repository", "s3://models"),
        *("--model", "a b,c", "--price-per-hour", "0.8", "--labels", "inferno-pool=small"),
        *("--grpc-port", "8001", "--labels", "x=y z"),
    ]


def test_the_token_is_in_no_text_about_it() -> None:
    boot = Boot(Pool("small", "aws"), token="secret-token")
    assert "secret-token" not in repr(boot)
    assert "secret-token" in user_data(boot)
