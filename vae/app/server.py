"""The server of the web page."""

import asyncio
import os
import re
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vae.cli.errors import EnvironmentProblem, InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vae.app.catalog import Catalog

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY_ADDRESS = ("0.0.0.0", "::")
DEFAULT_PORT = 7860
MAX_UPLOAD_BYTES = 1 << 29  # of all uploads on the disk at a time
MAX_UPLOADS = 4  # received at a time; others wait
MAX_ANSWERS = 4  # computed at a time; others wait
# Routes of Gradio to a file or an address that the request names. The page needs none: its images are in its HTML.
CLOSED = re.compile(r"/(file|proxy|pwa_icon|stream)\b")
DRAWS = re.compile(r"/(run|api)/")  # Gradio's routes to the functions of the page

# With this policy a browser fetches nothing from anywhere else.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'self' blob:"
)


def web(catalog: "Catalog", optimization_steps: int = 400) -> "FastAPI":
    """Return the page and its downloads as an application for any ASGI server.

    Args:
        catalog: the models.
        optimization_steps: of the projection of a photo, see `vae.models.projection.project`.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr
    from fastapi import FastAPI, HTTPException, Request, Response
    from gradio.utils import get_upload_folder

    from vae.app import layout
    from vae.app.downloads import MY_FILES, grid_png, zip_of_pngs
    from vae.app.guests import Guests
    from vae.app.projections import Projections
    from vae.app.uploads import MAX_MEGABYTES

    guests, projections = Guests(), Projections(optimization_steps)
    drawing, receiving, answering = threading.Lock(), asyncio.Semaphore(MAX_UPLOADS), asyncio.Semaphore(MAX_ANSWERS)

    async def answer(request: Request, call_next) -> Response:
        if CLOSED.search(request.url.path):
            return Response("there is no such page", 404)
        if DRAWS.search(request.url.path):
            async with answering:
                return await call_next(request)
        if not request.url.path.endswith("/upload"):
            return await call_next(request)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > (MAX_MEGABYTES + 1) << 20:
            return Response(f"a file may have {MAX_MEGABYTES} MB", 413)
        async with receiving:
            stored = sum(path.stat().st_size for path in Path(get_upload_folder()).rglob("*") if path.is_file())
            if stored > MAX_UPLOAD_BYTES:
                return Response("too many files at once: try again in a minute", 503)
            return await call_next(request)

    app = FastAPI(title="VAE Cats", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def restrict(request: Request, call_next) -> Response:
        response = await answer(request, call_next)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/cats.{kind}")
    def cats(
        kind: str, count: int = 24, seed: int = 0, temperature: float = 1.0, sampler: str = "", model: str = ""
    ) -> Response:
        encoders = {"png": ("image/png", grid_png), "zip": ("application/zip", zip_of_pngs)}
        if kind not in encoders:
            raise HTTPException(404)
        media, encode = encoders[kind]
        try:
            with drawing:  # One sheet at a time limits the memory.
                body = encode(catalog.session(model or None).cats(count, seed, temperature, sampler or None))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        name = f'attachment; filename="cats-{seed}.{kind}"'
        return Response(body, media_type=media, headers={"Content-Disposition": name})

    @app.get("/my-cat/{key}/{name}")
    def my_cat(key: str, name: str) -> Response:
        if name not in MY_FILES:
            raise HTTPException(404)
        media, encode = MY_FILES[name]
        try:
            guest = guests.get(key)
            body = encode(guest, catalog.session(guest.model).model)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(body, media_type=media, headers=headers)

    return gr.mount_gradio_app(
        app,
        layout.build(catalog, guests, projections),
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=f"{MAX_MEGABYTES}mb",
        theme=layout.theme(),
        css_paths=[Path(__file__).with_name("app.css")],
        head=layout.HEAD,
        favicon_path=str(Path(__file__).with_name("cat.svg")),
    )


def serve(run: Path, models: Path, host: str, port: int, optimization_steps: int = 400) -> None:
    """Serve the page until Ctrl-C.

    Args:
        run: the folder of the model that the page starts with.
        models: the folder with the other models.
        host: the address to listen on.
        port: the port to listen on.
        optimization_steps: of the projection of a photo.

    Raises:
        InputError: there is no such run, or the port is out of range.
        EnvironmentProblem: the address cannot be used.
    """
    if not 0 < port < 65536:
        raise InputError(f"port must be between 1 and 65535, not {port}")
    import torch

    from vae.app.catalog import Catalog

    torch.set_num_threads(1)  # A cat is so small that threads cost more than they save.
    catalog = Catalog(run, models)
    with listening(host, port) as sock, tempfile.TemporaryDirectory(prefix="vae-cats-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # Gradio stores an upload here until it has been read.
        import uvicorn

        app = web(catalog, optimization_steps)
        if host not in LOOPBACK:
            print(
                f"warning: host={host}: everybody who reaches this machine can open the page and upload images; "
                "there is no password. Use host=127.0.0.1 to restrict it to this machine.",
                file=sys.stderr,
            )
        elif host != "::1":  # A hostile page in the same browser reaches this server under another host name.
            from starlette.middleware.trustedhost import TrustedHostMiddleware

            app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        shown = "127.0.0.1" if host in ANY_ADDRESS else host
        print(f"The cats are at http://{shown}:{port}, drawn by {run}. Press Ctrl-C to stop.", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        server.run(sockets=[sock])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        EnvironmentProblem: the address cannot be used, most often because another program has the port.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        free = port + 1 if port < 65535 else DEFAULT_PORT
        raise EnvironmentProblem(
            f"host={host} port={port} cannot be used ({error.strerror or error}): choose another port, such as "
            f"port={free}"
        ) from None
