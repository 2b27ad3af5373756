"""A page without a server: a folder of files that draws cats in the browser, with the model as ONNX.

onnxruntime-web comes from the npm registry when the page is written: one archive, of the version and with the checksum
of `configs/web.yaml`, kept in the cache of the user.
"""

import base64
import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae.cli.errors import InputError
from vae.data.download import download
from vae.models.directions import Directions
from vae.models.onnx_export import export_onnx
from vae.models.vae import VAE
from vae.runs.files import atomic_write

SOURCE = Path(__file__).with_name("static")
ICON = Path(__file__).with_name("cat.svg")
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
MAX_BYTES = 64 << 20  # of one file of the runtime


def write_page(
    model: VAE,
    folder: Path,
    directions: Directions,
    url: str,
    integrity: str,
    condition: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a model.

    Args:
        model: with its sampler fitted.
        folder: made if missing; files of an earlier page are replaced.
        directions: of the latent space; those with a name become sliders.
        url: of the archive of onnxruntime-web.
        integrity: its checksum, `sha512-` and 64 bytes in base64, as npm states it.
        condition: labels of all images, for a conditional model.

    Returns:
        The address of the page in the folder, `index.html`.

    Raises:
        InputError: the model has no ONNX form, or the archive is another one than stated.
        EnvironmentProblem: a package is missing, or the archive cannot be downloaded.
    """
    files = runtime(url, integrity)
    export_onnx(model, folder, directions, half=True, parts=("decoder", "sampler"), condition=condition)
    files |= {path.name: path.read_bytes() for path in (*SOURCE.iterdir(), ICON)}
    names = sorted({*files, "decoder.onnx", "sampler.onnx", "model.json"} - {"page.js"})
    version = hashlib.sha256()
    for name in names:
        version.update(files.get(name) or (folder / name).read_bytes())
    script = files["page.js"].decode()
    script = script.replace("/*version*/", version.hexdigest()[:16])
    files["page.js"] = script.replace("[/*files*/]", json.dumps(["./", "page.js", *names])).encode()
    for name, content in files.items():
        with atomic_write(folder / name) as path:
            path.write_bytes(content)
    return folder / "index.html"


def runtime(url: str, integrity: str) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs, by name, from the cache or the network.

    Raises:
        InputError: the archive has another checksum, or lacks a file.
        EnvironmentProblem: it cannot be downloaded.
    """
    archive = cache() / url.rpartition("/")[2]
    if not archive.is_file() or checksum(archive) != integrity:
        archive.unlink(missing_ok=True)
        download(url, archive)
    if checksum(archive) != integrity:
        archive.unlink()
        raise InputError(f"runtime.url={url} has another checksum than runtime.integrity: it is not used")
    with tarfile.open(archive) as package:
        found = {name: package.getmember(f"package/dist/{name}") for name in RUNTIME}
        return {name: package.extractfile(member).read(MAX_BYTES) for name, member in found.items()}


def cache() -> Path:
    """Return the folder where downloads of this package are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vae-cats"


def checksum(path: Path) -> str:
    """Return the checksum of a file as npm states it: `sha512-` and base64."""
    with path.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
