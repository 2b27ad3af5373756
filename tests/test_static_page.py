"""make web, in a real browser: the pixels of PyTorch, every control, no request to anybody else, and offline."""

import functools
import io
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vae
from vae.app import static_page
from vae.app.static_page import runtime, write_page
from vae.cli.compose import compose
from vae.cli.errors import EnvironmentProblem, InputError
from vae.models.onnx_export import SeededSampler
from vae.models.serialization import load_directions
from vae.models.vae import interpolate_latents
from vae.visualization.images import to_uint8

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SEED = 7
PIXELS = """() => {
  const canvas = document.getElementById("cat");
  return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
}"""
MOVE = "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }"

BOX = Path(__file__).parents[1] / "models" / "cats64"


@pytest.fixture(scope="module")
def model():
    return vae.load(BOX)


@pytest.fixture(scope="module")
def latent(model):
    """The latent that a seed has on the page: `latent(7)`, `(1, 128)`."""
    sampler = SeededSampler(model.model.sampler)
    return lambda seed: sampler(torch.tensor([seed]), torch.tensor(1.0))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    options = compose("web").runtime
    if not (static_page.cache() / f"{options.package.replace('@', '-')}.tgz").is_file():
        pytest.skip("onnxruntime-web is not in the cache, and tests use no network: run `make web` once")
    page = write_page(
        model.model, tmp_path_factory.mktemp("page"), model.directions, options.package, options.integrity
    )
    return page.parent


@pytest.fixture(scope="module")
def address(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def page(address):
    """The page with the cat of `SEED`; `page.requests` and `page.errors` are what it asked for and complained of."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 390, "height": 844})
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(f"{address}#{SEED}")
        page.wait_for_selector("body[data-idle]")
        yield page
        chromium.close()


def drawn(page) -> np.ndarray:
    """The cat on the page, `(64, 64, 3)`, once it stands still."""
    page.wait_for_selector("#cat[data-state=drawn]")
    return np.array(page.evaluate(PIXELS)).reshape(64, 64, 4)[..., :3]


def seed(page, canvas: str = "#cat") -> int:
    """The seed of a cat on the page."""
    return int(page.locator(canvas).get_attribute("data-seed"))


def assert_same(page, model, z) -> None:
    """Whether the page shows what PyTorch decodes, but for one of 256 levels."""
    expected = to_uint8(model.decode(z))[0].astype(int)
    assert np.abs(drawn(page) - expected).max() <= 1


@pytest.fixture(autouse=True)
def fresh(request):
    """Every test begins with a cat whose sliders nobody has moved."""
    if "page" in request.fixturenames:
        request.getfixturevalue("page").click("#reset")


def test_the_pixels_are_those_of_pytorch(page, model, latent):
    assert_same(page, model, latent(seed(page)))
    assert page.errors == []


def test_a_slider_moves_along_its_direction(page, model, latent):
    directions, z = load_directions(BOX), latent(seed(page))
    for row, name in enumerate(filter(None, directions.names)):
        page.click("#reset")
        page.get_by_label(f"From {name.replace(' – ', ' to ')}").evaluate(MOVE, "1.5")
        coordinates = directions.coordinates(z)
        coordinates[0, row] = 1.5
        assert_same(page, model, directions.latents(coordinates, around=z))


def test_a_morph_is_that_of_pytorch(page, model, latent):
    ends = latent(seed(page)), latent(seed(page, "#second"))
    page.get_by_label("From the first cat to the second").evaluate(MOVE, "0.5")
    assert_same(page, model, interpolate_latents(*ends, 3)[:, 1])


def test_new_cats_are_others(page):
    before = drawn(page)
    page.click("#new")
    assert np.abs(drawn(page) - before).max() > 20
    page.locator("#sheet button").nth(2).click()
    assert page.locator("#sheet button[aria-pressed=true]").count() == 1


def test_the_cat_is_saved_as_png(page):
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == f"cat-{seed(page)}.png"
    saved = np.asarray(Image.open(io.BytesIO(Path(download.value.path()).read_bytes())).convert("RGB"))
    assert np.array_equal(saved, drawn(page))


def test_on_a_phone_nothing_is_cut_off_and_the_cat_stays_in_sight(page):
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.locator("#share").scroll_into_view_if_needed()
    box = page.locator("#cat").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] < 844 / 2
    small = page.evaluate("() => [...document.querySelectorAll('button')].filter((b) => b.offsetHeight < 44).length")
    assert small == 0


def test_no_request_leaves_its_origin(page, address):
    assert len(page.requests) > 5 and all(url.startswith((address, "blob:")) for url in page.requests)


def test_it_works_offline_once_loaded(page, address, model, latent):
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    try:
        page.goto(f"{address}?again#{SEED}")
        page.wait_for_selector("body[data-idle]")
        assert_same(page, model, latent(SEED))
    finally:
        page.context.set_offline(False)


def test_another_archive_than_stated_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "runtime.tgz"
    source.write_bytes(b"something else")
    monkeypatch.setattr(static_page, "fetch", lambda _, path: path.parent.mkdir() or shutil.copy(source, path))
    with pytest.raises(InputError, match="another checksum"):
        runtime("runtime@1", compose("web").runtime.integrity)
    assert not (tmp_path / "vae-cats" / "runtime-1.tgz").exists()


def test_npm_that_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="npm is not installed: it fetches runtime@1"):
        runtime("runtime@1", compose("web").runtime.integrity)
