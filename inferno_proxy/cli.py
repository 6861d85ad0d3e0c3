"""``inferno proxy``: run a proxy, or print what a client needs to know of one. Heavy modules load when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from inferno_proxy.settings import ProxySettings
from inferno_runtime import settings as settings_loader


@click.group("proxy", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), default=None, help="YAML file; its section proxy is read.")
@settings_loader.click_options(ProxySettings)
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, **flags: object) -> None:
    """Run a proxy: the public port (Envoy) and its control plane.

    The port speaks the Open Inference Protocol over gRPC and REST; nodes register through it; operators look through
    it. SIGINT or SIGTERM ends it in order within ten seconds. SIGHUP reads the settings again: what can change while it
    runs changes, what cannot is named, and a file with a mistake changes nothing.
    """
    if ctx.invoked_subcommand is not None:
        return
    from inferno_proxy.supervisor.handover import Origin
    from inferno_runtime import lifecycle, logs

    origin = Origin(config, {name: value for name, value in flags.items() if value is not None})
    loaded = origin.read(os.environ).value
    logs.configure(loaded.log_format, loaded.log_level)
    from inferno_proxy import app

    async def main(stop: lifecycle.Stop) -> None:
        await app.serve(loaded, stop, origin)

    ctx.exit(lifecycle.run(main))


@command.command("bootstrap")
@click.option(
    "--grpc", "kind", flag_value="grpc", default="grpc", help="For gRPC libraries: GRPC_XDS_BOOTSTRAP (default)."
)
@click.option("--envoy", "kind", flag_value="envoy", help="For an Envoy of your own.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="H:P",
    help="A proxy: its public port (default 127.0.0.1:8080), or with --identity its mesh port. Further ones take over.",
)
@click.option(
    "--identity",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="The client's certificate of the mesh, as 'inferno cert issue --out DIR' leaves it.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="The CA of the public ports' certificates (PEM), where those speak TLS.",
)
@click.option(
    "--node-id",
    default="",
    metavar="NAME",
    help="Name of this client in the mesh (default: the certificate's, or host and kind).",
)
@click.option("--plaintext", is_flag=True, help="The proxies' ports speak no TLS: --identity is for nodes alone.")
@click.option("--listen", default="127.0.0.1:10000", show_default=True, metavar="IP:P", help="Where the Envoy serves.")
@click.option("--insecure", is_flag=True, help="Allow --listen an address other than loopback; that port has no TLS.")
def bootstrap(
    kind: str,
    proxies: tuple[str, ...],
    identity: Path | None,
    ca: Path | None,
    node_id: str,
    listen: str,
    **given: bool,
) -> None:
    """Print the xDS bootstrap with which a client takes its configuration from a proxy.

    With GRPC_XDS_BOOTSTRAP naming the file, tritonclient balances by itself: its URL is xds:///MODEL.
    """
    import time
    from dataclasses import replace

    from inferno_proxy.envoy.bootstrap import encode
    from inferno_proxy.envoy.outside import Outside, external_bootstrap, grpc_bootstrap, serving_address
    from inferno_runtime.errors import InvalidInput

    if not proxies and identity is not None and not given["plaintext"]:
        raise InvalidInput(
            "With an identity a proxy is reached at its mesh port, and nothing says where that is.",
            reason="NO_PROXY",
            fix="Give --proxy HOST:PORT with the port in proxy.mesh_port, or say --plaintext.",
        )
    outside = Outside.checked(proxies or ("127.0.0.1:8080",), node_id, identity, ca, kind=kind, now=time.time())
    outside = replace(outside, listen=serving_address(listen, insecure=given["insecure"]), plaintext=given["plaintext"])
    made = grpc_bootstrap(outside) if kind == "grpc" else external_bootstrap(outside)
    click.echo(encode(made), nl=False)


def main() -> None:
    """``inferno-proxy``: run the command and end the process with its exit code."""
    from inferno_runtime.errors import InfernoError
    from inferno_runtime.lifecycle import present_error

    try:
        command.main(prog_name="inferno-proxy")
    except InfernoError as error:
        present_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
