"""A page without a server: a folder of files that draws cats in the browser, with the model as ONNX.

npm fetches onnxruntime-web when the page is written: one archive with the version and the checksum of
`configs/web.yaml`, kept in the cache of the user.
"""

import base64
import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vae.cli.errors import EnvironmentProblem, InputError
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
    package: str,
    integrity: str,
    condition: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a model.

    Args:
        model: with its sampler fitted.
        folder: made if missing; files of an earlier page are replaced.
        directions: of the latent space; those with a name become sliders.
        package: name and version of onnxruntime-web for npm.
        integrity: checksum of its archive, `sha512-` and 64 bytes in base64, as npm states it.
        condition: labels of all images, for a conditional model.

    Returns:
        The address of the page in the folder, `index.html`.

    Raises:
        InputError: the model has no ONNX form, or the archive is another one than stated.
        EnvironmentProblem: a package or npm is missing, or npm cannot fetch the archive.
    """
    files = runtime(package, integrity)
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


def runtime(package: str, integrity: str) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs, by name, from the cache or through npm.

    Raises:
        InputError: the archive has another checksum, or lacks a file.
        EnvironmentProblem: npm is missing, or cannot fetch it.
    """
    archive = cache() / f"{package.replace('@', '-')}.tgz"
    if not archive.is_file() or checksum(archive) != integrity:
        archive.unlink(missing_ok=True)
        fetch(package, archive)
    if checksum(archive) != integrity:
        archive.unlink()
        raise InputError(f"runtime.package={package} has another checksum than runtime.integrity: it is not used")
    with tarfile.open(archive) as content:
        found = {name: content.getmember(f"package/dist/{name}") for name in RUNTIME}
        return {name: content.extractfile(member).read(MAX_BYTES) for name, member in found.items()}


def fetch(package: str, archive: Path) -> None:
    """Have npm fetch the archive of a package, from the registry that npm is configured for.

    Raises:
        EnvironmentProblem: npm is missing, or cannot fetch it.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=archive.parent) as folder:
        try:
            command = ["npm", "pack", package, "--silent", "--pack-destination", folder]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            next(Path(folder).glob("*.tgz")).replace(archive)
        except FileNotFoundError:
            raise EnvironmentProblem(f"npm is not installed: it fetches {package}; install Node.js") from None
        except (subprocess.SubprocessError, StopIteration):
            raise EnvironmentProblem(f"npm cannot fetch {package}: check the network, and try again") from None


def cache() -> Path:
    """Return the folder where downloads of this package are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vae-cats"


def checksum(path: Path) -> str:
    """Return the checksum of a file as npm states it: `sha512-` and base64."""
    with path.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
