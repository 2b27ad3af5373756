"""make app: the web page."""

import asyncio
import os
import re
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vae.cli.compose import CONFIGS
from vae.cli.errors import EnvironmentProblem, InputError
from vae.runs.lookup import find_run

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vae.app.session import Studio

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
ROOM = 1 << 29  # bytes of uploads that may lie on the disk at a time
AT_ONCE = 4  # uploads that are received at a time; others wait
# Gradio's ways to a file or an address that the request names. The page needs none: its pictures are in its HTML.
CLOSED = re.compile(r"/(file|proxy|pwa_icon|stream)\b")

# A browser that keeps to this fetches nothing from anywhere else.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'self' blob:"
)


def samplers() -> dict[str, DictConfig]:
    """Every sampler in `configs/sampler`, by name."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()  # that of the command, whose configuration is composed
    names = sorted(path.stem for path in (CONFIGS / "sampler").glob("*.yaml"))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return {name: compose("predict", [f"sampler={name}"]).sampler for name in names}


def web(studio: "Studio", models: Path | str = "models") -> "FastAPI":
    """The page and its downloads, as an application for any ASGI server.

    Args:
        studio: the run to draw with.
        models: where the tab Runs looks for runs.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr
    from fastapi import FastAPI, HTTPException, Request, Response
    from gradio.utils import get_upload_folder

    from vae.app import layout as pages
    from vae.app.downloads import sheet_png, zip_of_pngs

    drawing, receiving = threading.Lock(), asyncio.Semaphore(AT_ONCE)

    async def answer(request: Request, call_next) -> Response:
        if CLOSED.search(request.url.path):
            return Response("there is no such page", 404)
        if not request.url.path.endswith("/upload"):
            return await call_next(request)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > (pages.MAX_MEGABYTES + 1) << 20:
            return Response(f"a file may have {pages.MAX_MEGABYTES} MB", 413)
        async with receiving:
            lying = sum(path.stat().st_size for path in Path(get_upload_folder()).rglob("*") if path.is_file())
            if lying > ROOM:
                return Response("too many files at once: try again in a minute", 503)
            return await call_next(request)

    app = FastAPI(title="VAE Cats", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def stay_here(request: Request, call_next) -> Response:
        response = await answer(request, call_next)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/cats.{kind}")
    def cats(kind: str, count: int = 24, seed: int = 0, temperature: float = 1.0, sampler: str = "") -> Response:
        makers = {"png": ("image/png", sheet_png), "zip": ("application/zip", zip_of_pngs)}
        if kind not in makers:
            raise HTTPException(404)
        media, make = makers[kind]
        try:
            with drawing:  # one sheet at a time, for the memory
                body = make(studio.cats(count, seed, temperature, sampler or None))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        name = f'attachment; filename="cats-{seed}.{kind}"'
        return Response(body, media_type=media, headers={"Content-Disposition": name})

    return gr.mount_gradio_app(
        app,
        pages.build(studio, Path(models)),
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=f"{pages.MAX_MEGABYTES}mb",
        theme=pages.theme(),
        css_paths=[Path(__file__).with_name("app.css")],
        head=pages.HEAD,
        favicon_path=str(Path(__file__).with_name("cat.svg")),
    )


def serve(config: DictConfig) -> None:
    """Open the page until Ctrl-C.

    Raises:
        InputError: there is no such run, or the port is no port.
        EnvironmentProblem: the address cannot be used.
    """
    if not 0 < config.port < 65536:
        raise InputError(f"port must be between 1 and 65535, not {config.port}")
    import torch

    from vae.app.session import Studio

    torch.set_num_threads(1)  # a cat is too small to share; threads that wait for each other cost more
    studio = Studio(find_run(config.run), samplers())
    with listening(config.host, config.port) as sock, tempfile.TemporaryDirectory(prefix="vae-cats-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # what is uploaded lies here until it has been read
        import uvicorn

        app = web(studio, config.models)
        if config.host not in THIS_MACHINE:
            print(
                f"warning: host={config.host}: everybody who reaches this machine can open the page and upload "
                "pictures; there is no password. host=127.0.0.1 keeps it to this machine.",
                file=sys.stderr,
            )
        elif config.host != "::1":  # a page of somebody else, open in the same browser, has another name
            from starlette.middleware.trustedhost import TrustedHostMiddleware

            app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        shown = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
        print(f"The cats are at http://{shown}:{config.port}, drawn by {studio.run}. Ctrl-C ends it.", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        server.run(sockets=[sock])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        EnvironmentProblem: the address cannot be used, most often because another program has the port.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise EnvironmentProblem(
            f"host={host} port={port} cannot be used ({error.strerror or error}): take another port, such as "
            f"port={port + 1 if port < 65535 else 7861}"
        ) from None
