"""What an EC2 instance does at each boot: it becomes the node that its tag names.

https://cloudinit.readthedocs.io: the user data is read once, so it leaves a script for every boot; an instance that was
stopped and is started as another node finds its new name in its tags.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from decimal import Decimal

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import TAG_NODE, TAG_POOL

_MICROS = 1_000_000
_SCRIPT = """\
#!/bin/sh
set -eu
metadata() { curl -sf --retry 10 --retry-connrefused "$@"; }
at=http://169.254.169.254/latest
key=$(metadata -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$at/api/token")
ask() { metadata -H "X-aws-ec2-metadata-token: $key" "$at/meta-data/$1"; }
node=$(ask tags/instance/{tag})
host=$(ask local-ipv4)
exec systemd-run --unit=inferno-backend --property=Restart=on-failure -- \\
  inferno-backend --node-id "$node" --host 0.0.0.0 --advertise-host "$host" \\
  {arguments}
"""
_TOKEN = "/var/lib/inferno/join-token"  # noqa: S105 - where it lies


@dataclass(frozen=True, slots=True)
class Boot:
    """What a node of a pool is started with. ``token`` is the join token itself."""

    pool: Pool
    discovery_lb: str = ""
    token: str = field(default="", repr=False)
    model_repository: str = ""
    arguments: str = ""


def user_data(boot: Boot) -> str:
    """The instance's user data (JSON, which is YAML). Whoever may read it of the instance may read the token."""
    files = [_file("/var/lib/cloud/scripts/per-boot/inferno", "0700", script(boot))]
    if boot.token:
        files.append(_file(_TOKEN, "0600", boot.token))
    return "#cloud-config\n" + json.dumps({"write_files": files})


def script(boot: Boot) -> str:
    """The script of each boot."""
    pool = boot.pool
    asked = {
        "--data-dir": "/var/lib/inferno/node",
        "--discovery-lb": boot.discovery_lb,
        "--join-token-file": _TOKEN if boot.token else "",
        "--model-repository": boot.model_repository,
        "--model": ",".join(pool.models),
        "--price-per-hour": str(Decimal(pool.micros_per_hour) / _MICROS) if pool.micros_per_hour else "",
        "--labels": f"{TAG_POOL}={pool.name}",
    }
    words = shlex.join(word for name, value in asked.items() if value for word in (name, value))
    return _SCRIPT.replace("{tag}", TAG_NODE).replace("{arguments}", f"{words} {boot.arguments}".strip())


def _file(path: str, permissions: str, content: str) -> dict[str, str]:
    return {"path": path, "permissions": permissions, "content": content}
