"""Nodes as Pods, through the official client: each a Pod of its own, called as the node, so that a named one can be
stopped. A Deployment could only be told how many."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_governator.providers import kubernetes_errors
from inferno_governator.providers.options import Options, read
from inferno_governator.providers.pod import SELECTOR, is_ours, pod
from inferno_governator.providers.provider import TAG_NODE, TAG_POOL, Machine, MachineState
from inferno_runtime.errors import InvalidInput, Unsupported

_SECONDS = 30.0
# Objects of one page of a list.
_PAGE = 500
_STATES: Mapping[str, MachineState] = {
    "Pending": MachineState.PENDING,
    "Running": MachineState.RUNNING,
    "Unknown": MachineState.RUNNING,
    "Succeeded": MachineState.STOPPED,
    "Failed": MachineState.STOPPED,
}
Json = Mapping[str, Any]
# Where Kubernetes mounts what a pod proves itself with.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubernetesOptions(Options):
    """What a pool tells this provider."""

    namespace: str = pydantic.Field("default", description="Namespace of its Pods.")
    kubeconfig: str = pydantic.Field("", description="Whom to ask; empty: the cluster we run in, or kubectl's file.")
    context: str = pydantic.Field("", description="Context of that file; its current one when empty.")
    image: str = pydantic.Field("", description="Image with inferno-mesh; or give a template.")
    template_file: str = pydantic.Field("", description="Pod to start (YAML); name and labels are laid over it.")
    discovery_lb: str = pydantic.Field("", description="Proxies to register with, as for inferno backend.")
    model_repository: str = pydantic.Field("", description="Models, as for inferno backend.")
    arguments: str = pydantic.Field("", description="Further arguments of inferno backend, as in a shell.")

    @property
    def cluster(self) -> tuple[str, str, str]:
        """What tells where its Pods are."""
        return self.kubeconfig, self.context, self.namespace


class Kubernetes:
    """Creates, deletes and lists Pods."""

    name = "kubernetes"

    def __init__(self, pools: Sequence[Pool], env: Mapping[str, str] = os.environ) -> None:
        """Raises:
        Unsupported: The client is not installed.
        """
        if importlib.util.find_spec("kubernetes") is None:
            raise Unsupported(
                "The provider kubernetes needs the Kubernetes client, which is not installed.",
                reason="EXTRA_MISSING",
                fix="Install the extra: pip install 'inferno-mesh[kubernetes]'.",
            )
        self._pools = pools
        self._env = env

    async def check(self) -> str:
        """As :meth:`inferno_governator.providers.provider.Provider.check`. Asks for a Pod of each pool by the API's own
        dry run."""
        for pool in self._pools:
            await self._create(pool, f"{pool.name}-check", rehearsed=True)
        places = sorted({f"namespace {options.namespace}" for options in self._clusters().values()})
        return f"Pods in {', '.join(places)}."

    async def start(self, node: str, pool: Pool) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.start`.

        Raises:
            InvalidInput: Also where something of that name is not ours.
        """
        await self._create(pool, node, rehearsed=not pool.act)

    async def stop(self, node: str) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.stop`."""
        for options in self._clusters().values():
            async with self._api(options) as api:
                found = await _read(api, node, options.namespace)
                if found is None or not is_ours(found):
                    continue
                # This very Pod, and not one of the same name that somebody has created meanwhile.
                body = {"preconditions": {"uid": found["metadata"].get("uid")}}
                try:
                    await api.delete_namespaced_pod(node, options.namespace, body=body, _request_timeout=_SECONDS)
                except Exception as error:
                    if kubernetes_errors.status_of(error) not in (404, 409):
                        raise

    async def nodes(self) -> Sequence[Machine]:
        """As :meth:`inferno_governator.providers.provider.Provider.nodes`."""
        found: list[Machine] = []
        for options in self._clusters().values():
            async with self._api(options) as api:
                token = ""
                while True:
                    page = await _json(
                        api.list_namespaced_pod_without_preload_content(
                            options.namespace,
                            label_selector=SELECTOR,
                            limit=_PAGE,
                            _request_timeout=_SECONDS,
                            **({"_continue": token} if token else {}),
                        )
                    )
                    found += [_machine(each) for each in page["items"]]
                    token = page["metadata"].get("continue", "")
                    if not token:
                        break
        return found

    async def _create(self, pool: Pool, node: str, *, rehearsed: bool) -> None:
        options = read(pool, KubernetesOptions)
        template = _template(pool, options)
        asked = pod(node, pool, template, _arguments(options), options.discovery_lb)
        dry = {"dry_run": "All"} if rehearsed else {}
        async with self._api(options) as api:
            try:
                await api.create_namespaced_pod(options.namespace, asked, _request_timeout=_SECONDS, **dry)
            except Exception as error:
                if kubernetes_errors.status_of(error) != 409 or kubernetes_errors.is_quota(error):
                    raise
                found = await _read(api, node, options.namespace)
                if found is not None and not is_ours(found):
                    raise InvalidInput(
                        f"A Pod {node} in namespace {options.namespace} is not ours.",
                        reason="BAD_POOL",
                        fix="Use another namespace, or rename the pool.",
                    ) from error

    def _clusters(self) -> dict[tuple[str, str, str], KubernetesOptions]:
        options = [read(pool, KubernetesOptions) for pool in self._pools]
        return {each.cluster: each for each in options}

    @asynccontextmanager
    async def _api(self, options: KubernetesOptions) -> AsyncIterator[Any]:
        # The client's modules take 0.4 s: the event loop goes on meanwhile.
        await asyncio.to_thread(__import__, "kubernetes.aio.client")
        from kubernetes.aio import client

        made = await self._client(options)
        with kubernetes_errors.named():
            async with made as session:
                yield client.CoreV1Api(session)

    async def _client(self, options: KubernetesOptions) -> Any:
        from kubernetes.aio import client, config
        from kubernetes.aio.config.incluster_config import InClusterConfigLoader

        untyped: Any = config
        try:
            if options.kubeconfig or "KUBERNETES_SERVICE_HOST" not in self._env:
                return await untyped.new_client_from_config(
                    options.kubeconfig or None, options.context or None, persist_config=False
                )
            chosen = client.Configuration()
            loader: Any = InClusterConfigLoader
            loader(str(ACCOUNT / "token"), str(ACCOUNT / "ca.crt"), environ=self._env).load_and_set(chosen)
            return client.ApiClient(chosen)
        except Exception as error:  # whatever a kubeconfig's plug-in or the client raises is the configuration's fault
            raise kubernetes_errors.no_cluster(error) from error


async def _read(api: Any, node: str, namespace: str) -> Json | None:
    try:
        return await _json(api.read_namespaced_pod_without_preload_content(node, namespace, _request_timeout=_SECONDS))
    except Exception as error:
        if kubernetes_errors.status_of(error) == 404:
            return None
        raise


async def _json(call: Any) -> Json:
    """The body of an answer as it came: the client's models take longer to make than the answer to come."""
    response = await call
    async with response:
        if response.status >= 300:
            raise kubernetes_errors.Answered(response.status, await response.text())
        found: Json = await response.json(content_type=None)
        return found


def _template(pool: Pool, options: KubernetesOptions) -> Json:
    """The Pod as the pool's file or image says."""
    if bool(options.image) == bool(options.template_file):
        raise _bad(pool, "it needs either the option 'image' or 'template_file'", "Give one of them.")
    if options.image:
        return {"spec": {"containers": [{"name": "node", "image": options.image}]}}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(Path(options.template_file))
    except (OSError, YAMLError) as error:
        said = " ".join(str(error).split())[:200]
        raise _bad(pool, f"its template cannot be read: {said}", "Check the file.") from error
    if not isinstance(found, dict) or not found.get("spec", {}).get("containers"):
        raise _bad(pool, "its template is no Pod with containers", "Write it as for kubectl apply.")
    return found


def _arguments(options: KubernetesOptions) -> Mapping[str, str]:
    return {"--model-repository": options.model_repository, "": options.arguments}


def _machine(each: Json) -> Machine:
    metadata, status = each["metadata"], each.get("status", {})
    labels = metadata.get("labels", {})
    state = _STATES.get(status.get("phase", "Pending"), MachineState.PENDING)
    if metadata.get("deletionTimestamp"):
        state = MachineState.STOPPING
    born = metadata.get("creationTimestamp")
    return Machine(
        node=labels.get(TAG_NODE, metadata["name"]),
        pool=labels.get(TAG_POOL, ""),
        state=state,
        born_at=datetime.fromisoformat(born).timestamp() if born else 0.0,
        machine=metadata.get("uid", ""),
        zone=each.get("spec", {}).get("nodeName", ""),
        why=_why(status),
    )


def _why(status: Json) -> str:
    """What Kubernetes says is wrong."""
    for each in status.get("containerStatuses", ()):
        waiting = each.get("state", {}).get("waiting", {})
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".strip(": ")
    for each in status.get("conditions", ()):
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"{each.get('reason', 'Unschedulable')}: {each.get('message', '')}".strip(": ")
    return str(status.get("message", "") or status.get("reason", ""))


def _bad(pool: Pool, why: str, fix: str) -> InvalidInput:
    return InvalidInput(f"Pool {pool.name!r}: {why}.", reason="BAD_POOL", fix=fix)
