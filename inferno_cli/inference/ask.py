"""One ``inferno infer``: ask what the model expects, send what was given, print what it answers."""

from __future__ import annotations

from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.inference import rendering
from inferno_cli.inference.arguments import Given
from inferno_cli.inference.call import Answer, Model, Options
from inferno_cli.inference.requests import requests
from inferno_cli.output import Row


async def ask(endpoint: public.Endpoint, name: str, given: Given, options: Options, form: output.Format) -> None:
    """Answer on standard output.

    Raises:
        InvalidInput: What was given does not fit the model.
        InfernoError: A call failed.
    """
    async with public.connected(endpoint) as channel:
        model = Model(channel, name, options)
        spec = await model.spec()
        shown: list[Row] = []
        for request in requests(given, spec):
            if spec.decoupled:
                async for each in model.stream(request):
                    _print_now(each, form)
                continue
            answer = await model.infer(request)
            if form == "json":
                output.print_line(output.one_line(rendering.document(answer, request.items)))
            else:
                shown += rendering.rows(answer, request.items, batches=spec.batches)
        if shown:
            output.print_table(rendering.columns(answer, shown, [each.name for each in given.sources]), shown)


def _print_now(answer: Answer, form: output.Format) -> None:
    if form == "json":
        output.print_line(output.one_line(rendering.document(answer, ())))
    else:
        output.print_line(rendering.line(answer))
