"""`sfumato serve`: the studio and an API over HTTP."""

from __future__ import annotations

from pathlib import Path


def serve(
    *,
    model: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_host: list[str] | None = None,
    token_file: Path | None = None,
    batch: int = 16,
    queue: int = 32,
    workers: int = 1,
    data: Path = Path("sfumato-data"),
    runs: Path | None = None,
    seconds: float = 120.0,
    cost: int = 4_000_000,
) -> None:
    """Serves the studio and an API that OpenAI's clients speak; text streams while it emerges.

    It listens on this machine alone. Any other address needs a token, which clients send as
    Authorization: Bearer; it comes from a file or from the environment variable SFUMATO_TOKEN.

    $ sfumato serve
    $ sfumato serve --model my-model --port 8080

    Args:
        model: Folder or hub name; the shipped model if left out.
        host: Address to listen on.
        port: Number to listen on.
        allow_host: A name that the server answers to, beside its address; repeat for several.
        token_file: A file that holds the token.
        batch: Texts written side by side.
        queue: Requests that may wait; others are told to come back later.
        workers: Processes, each with the model in its memory.
        data: Folder for rankings and judgements, made when the first one is kept.
        runs: Folder of trainings whose journals the studio shows.
        seconds: The longest that a request may take.
        cost: The most that a request may cost, in passes × tokens.
    """
    from sfumato.errors import MissingExtraError

    try:
        from sfumato_apps.serve.launch import ServePlan
        from sfumato_apps.serve.launch import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "serve") from None
    from sfumato_apps.serve.limits import Limits

    run(
        ServePlan(
            model=model,
            host=host,
            port=port,
            allow_host=tuple(allow_host or ()),
            token_file=token_file,
            batch=batch,
            queue=queue,
            workers=workers,
            data=data,
            runs=runs,
            limits=Limits(seconds=seconds, cost=cost),
        )
    )
