"""The web page: what it draws, and each tab used once in a real browser."""

import contextlib
import io
import os
import shutil
import socket
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import TINY
from vae.cli.errors import EnvironmentProblem, InputError

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, composed, drawn):
    """A run on drawn cats, its weights as they were at the start: enough to be looked at."""
    from vae.data.datamodule import FaceDataModule
    from vae.models.build import build
    from vae.models.serialization import export
    from vae.visualization.images import save_grid

    folder = tmp_path_factory.mktemp("models") / "runs" / "first"
    config = composed("train", *TINY, *drawn)
    torch.manual_seed(0)
    model = build(config)
    with torch.no_grad():
        model.latent.head.weight.mul_(100)  # Latents of an untrained model hardly differ.
    data = FaceDataModule(f"{config.data.processed_dir}/drawn", image_size=16, batch_size=16)
    data.prepare_data()
    data.setup()
    latents, _ = model.sample_posterior(data.batches("train", mirrored=True))
    model.sampler.fit(latents)
    export(model, config, latents, folder)
    save_grid(model.sample(4, seed=0), folder / "figures" / "samples.png")
    (folder / "metrics.json").write_text('{"psnr": 12.5, "samplers": {"gmm": {"coverage": 0.75}}, "name": "first"}')
    shutil.copytree(folder, folder.with_name("second"))
    return folder


@pytest.fixture(scope="module")
def catalog(run):
    from vae.app.catalog import Catalog

    return Catalog(run, run.parent.parent)


@pytest.fixture(scope="module")
def session(catalog):
    return catalog.session()


@pytest.fixture(scope="module")
def photo():
    """A cat with its background, larger than a face."""
    from vae.data.synthetic.drawn import draw, sample_traits

    return np.asarray(draw(sample_traits(np.random.default_rng(3)))[0])


def jpeg(photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_same_seed_gives_the_same_cats(session):
    assert torch.equal(session.cats(3, 5), session.cats(3, 5))
    assert not torch.equal(session.cats(3, 5), session.cats(3, 6))
    assert session.cats(3, 5, sampler="prior").shape == (3, 3, 16, 16)
    assert session.samplers[0] == "gmm" and {"prior", "gmm"} <= set(session.samplers)


@pytest.mark.parametrize(
    "options",
    [{"count": 0}, {"count": 101}, {"seed": -1}, {"temperature": -1}, {"temperature": 9}, {"sampler": "dice"}],
)
def test_options_out_of_range(session, options):
    with pytest.raises(InputError):
        session.cats(**{"count": 1, "seed": 0} | options)


def test_the_sliders_start_at_the_cat_of_the_seed(session):
    positions = session.slider_positions(3)
    assert torch.allclose(session.slider_cat(3, positions), session.cats(1, 3), atol=1e-4)
    moved = session.slider_cat(3, [positions[0] + 2, *positions[1:]])
    assert not torch.allclose(moved, session.cats(1, 3), atol=1e-4)


def test_a_morph_begins_and_ends_at_its_cats(session):
    start, end = session.latents(2, 1).split(1)
    way = session.morph_frames(start, end)
    for share, place in ((0, 0), (1, -1), (-5, 0), (7, -1)):
        assert torch.allclose(session.morph(start, end, share), way[place][None], atol=1e-5)
    assert torch.allclose(way[[0, -1]], session.model.decode(torch.cat([start, end])), atol=1e-4)


def test_a_training_picture_is_its_own_neighbour(session):
    faces, mirrored, rows = session.training_faces
    near = session.nearest_latents(session.training_latents[2:3])
    assert near.distances[0] == 0 and near.distances == sorted(near.distances)
    from vae.data.datamodule import to_images

    same = to_images(torch.from_numpy(faces[rows[2:3]]))
    assert torch.equal(near.images[:1], same)
    assert session.nearest_pixels(same).distances[0] == 0
    turned = session.nearest_latents(session.training_latents[len(rows) : len(rows) + 1])
    assert torch.equal(turned.images[0], to_images(torch.from_numpy(mirrored[rows[:1]]))[0])


def test_without_the_data_neighbours_are_drawn_from_their_codes(session, run):
    from vae.app.session import Session

    alone = Session(run)
    alone.model.config.data.processed_dir = "nowhere"
    assert alone.nearest_pixels(torch.zeros(1, 3, 16, 16)) is None
    near = alone.nearest_latents(alone.training_latents[:1]).images
    assert torch.allclose(near[:1], alone.model.decode(alone.training_latents[:1]), atol=1e-5)


def test_runs_compare_runs(run):
    from vae.app.html import compare_runs
    from vae.visualization.run_gallery import find_runs, read_run

    models = run.parent.parent
    assert set(find_runs(models)) == {run, run.with_name("second")}
    assert read_run(run).metrics == {"psnr": 12.5, "samplers.gmm.coverage": 0.75}
    assert [sheet.name for sheet in read_run(run).figures] == ["samples.png"]
    assert compare_runs({"a<b": run}).count("12.5") == 1 and "a<b" not in compare_runs({"a<b": run})


@pytest.mark.parametrize(("run", "port", "word"), [("nowhere", 7860, "nowhere"), ("", 99999, "port"), ("", 0, "port")])
def test_mistakes(run, port, word):
    from vae.app.server import serve

    with pytest.raises(InputError, match=word):
        serve(Path(run), Path("models"), "127.0.0.1", port)


def test_a_port_that_is_taken():
    from vae.app.server import listening

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EnvironmentProblem, match="another port"):
        listening("127.0.0.1", taken.getsockname()[1])


@pytest.fixture(scope="module")
def address(catalog, tmp_path_factory):
    """The page, served by a thread."""
    import uvicorn

    from vae.app.server import listening, web

    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(web(catalog, optimization_steps=4), log_level="error"))
    sock = listening("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    assert started.wait(60)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
    server.should_exit = True
    thread.join()
    sock.close()


def test_downloads_and_closed_doors(address):
    import httpx

    query = "count=3&seed=5&temperature=1&sampler=gmm"
    with httpx.Client(base_url=address, trust_env=False) as client:
        archive = zipfile.ZipFile(io.BytesIO(client.get(f"cats.zip?{query}").content))
        assert archive.namelist() == ["cat-00.png", "cat-01.png", "cat-02.png"]
        assert Image.open(io.BytesIO(archive.read("cat-00.png"))).size == (16, 16)
        assert Image.open(io.BytesIO(client.get(f"cats.png?{query}").content)).size == (56, 20)
        assert client.get("cats.png?count=1000000").status_code == 422
        assert client.get("cats.exe").status_code == 404
        for path in ("/etc/passwd", "Makefile", "vae/cli.py", "../Makefile"):
            assert client.get(f"gradio_api/file={path}").status_code in (403, 404), path
        assert "default-src 'self'" in client.get("").headers["content-security-policy"]


@pytest.fixture
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium is installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:  # a fresh user data folder each time
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def source(page, place: str) -> str:
    return page.locator(f"{place} img").first.get_attribute("src")


def wait_for_change(page, place: str, before: str) -> None:
    """Wait until a place of the page shows another image than before."""
    page.wait_for_function(
        "([place, before]) => ![undefined, before].includes(document.querySelector(`${place} img`)?.src)",
        arg=[place, before],
    )


def upload_to(page, place: str, data: bytes, name: str = "cat.jpg") -> None:
    page.set_input_files(f"{place} input[type=file]", {"name": name, "mimeType": "image/jpeg", "buffer": data})


def test_every_tab_in_a_browser(browser, address, photo, tmp_path):
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(180_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    picture, changes, upload = partial(source, page), partial(wait_for_change, page), partial(upload_to, page)

    page.goto(address + "?cat=5")  # an address that names a cat opens the tab of the sliders
    page.wait_for_selector("#slider-cat img")
    before = picture("#slider-cat")
    page.locator("#direction-1 input[type=range]").focus()
    page.keyboard.press("End")
    changes("#slider-cat", before)
    page.wait_for_function("location.search.startsWith('?cat=5&at=3,')")
    moved = picture("#slider-cat")
    page.click("#reset")
    page.wait_for_function("before => document.querySelector('#slider-cat img').src == before", arg=before)
    page.wait_for_function("!location.search.includes('at=3,')")
    assert said == []
    page.goto(f"{address}?cat=5&at=3,{page.url.split(',', 1)[1]}")
    said.clear()  # The page that was left may have waited for answers.
    page.wait_for_function("moved => document.querySelector('#slider-cat img')?.src == moved", arg=moved)
    page.click("#randomise")
    changes("#slider-cat", moved)

    page.get_by_role("tab", name="New cats").click()
    page.wait_for_selector("#new-cats img")
    assert page.locator("#new-cats img").count() == 64
    before = picture("#new-cats")
    page.click("#draw")
    changes("#new-cats", before)
    with page.expect_download() as download:
        page.get_by_text("Download the sheet").click()
    assert Image.open(download.value.path()).width > 16

    page.get_by_role("tab", name="Morph").click()
    page.wait_for_selector("#morph-loop img")
    before = picture("#morph-between")
    page.locator("#morph-fraction input[type=range]").focus()
    page.keyboard.press("Home")
    changes("#morph-between", before)
    before = picture("#morph-second"), picture("#morph-loop")
    page.click("#morph-sample-second")
    changes("#morph-second", before[0])
    changes("#morph-loop", before[1])
    before = picture("#morph-first")
    upload("#morph-upload-first", jpeg(photo))
    changes("#morph-first", before)

    page.get_by_role("tab", name="Runs").click()
    page.wait_for_selector("#runs img")
    page.locator("#choose-runs input").click()
    page.get_by_role("option", name="second").click()
    page.wait_for_function("document.querySelectorAll('#runs section').length == 2")
    rows = page.locator("#runs .metrics tr").all_inner_texts()
    assert rows == ["\truns/first\truns/second", "PSNR, dB ↑\t12.50\t12.50"]

    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert [url for url in asked if "/queue/" in url] == []  # Gradio's client may lose answers that come in a stream.
    left = sum(file.stat().st_size for file in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if file.is_file())
    assert left == 0  # nothing of what was uploaded is kept
    page.close()


def test_your_cat(browser, address, photo, monkeypatch):
    """Two people at once: each sees the own cat found, corrected, drawn, edited, morphed and downloaded."""
    from vae.app import projections

    drawn, release, project = threading.Event(), threading.Event(), projections.project

    def stop_at_the_last_step(model, x, steps, on_step):
        def step(done, image):
            on_step(done, image)
            if done == steps:
                drawn.set()
                assert release.wait(60)

        return project(model, x, steps, on_step=step)

    monkeypatch.setattr(projections, "project", stop_at_the_last_step)
    page, other = (browser.new_page(viewport={"width": 1280, "height": 800}) for _ in range(2))
    said = []
    for each in (page, other):
        each.set_default_timeout(180_000)
        each.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        each.on("pageerror", lambda error: said.append(str(error)))
        each.goto(address)
        each.get_by_role("tab", name="Your cat").click()

    def download(text: str) -> bytes:
        with page.expect_download() as file:
            page.get_by_role("link", name=text).click()
        return Path(file.value.path()).read_bytes()

    upload_to(page, "#my-upload", b"I am a text", "cat.txt")
    page.wait_for_selector("#my-photo .notice.error >> text=not an image")
    upload_to(page, "#my-upload", jpeg(photo))
    page.wait_for_selector("#my-face img")
    assert page.locator("#my-photo .point").count() == 3
    before = source(page, "#my-face")
    eye = page.locator(".point .dot").first.bounding_box()
    page.mouse.move(eye["x"] + 4, eye["y"] + 4)
    page.mouse.down()
    page.mouse.move(eye["x"] - 20, eye["y"] + 10, steps=3)
    page.mouse.up()
    wait_for_change(page, "#my-face", before)
    before = source(page, "#my-face")
    page.locator(".point").nth(2).focus()
    page.keyboard.press("ArrowDown")
    wait_for_change(page, "#my-face", before)

    page.click("#my-draw")
    assert drawn.wait(60)
    page.wait_for_selector("#my-cat >> text=Step 4 of 4")
    assert page.locator("#my-cat progress").get_attribute("value") == "1.0"
    release.set()
    page.wait_for_selector("#my-files a")
    page.wait_for_selector("#my-cat >> text=in your photo")
    before = source(page, "#my-cat")
    page.locator("#my-direction-1 input[type=range]").focus()
    page.keyboard.press("End")
    wait_for_change(page, "#my-cat", before)
    page.click("#my-reset")
    page.wait_for_function("before => document.querySelector('#my-cat img').src == before", arg=before)
    page.click("#my-morph-drawn")
    page.wait_for_selector("#my-film img")
    film = source(page, "#my-film")
    upload_to(page, "#my-morph-upload", jpeg(photo[:, ::-1]))
    wait_for_change(page, "#my-film", film)
    assert download("Film (MP4)")[4:8] == b"ftyp"
    assert download("Film (GIF)").startswith(b"GIF89a")
    assert Image.open(io.BytesIO(download("Picture (PNG)"))).size == (16, 16)
    assert Image.open(io.BytesIO(download("In your photo"))).size == photo.shape[1::-1]
    cat = download("The cat itself")

    upload_to(other, "#my-upload", jpeg(np.full((90, 120, 3), 128, np.uint8)))
    other.wait_for_selector("#my-photo .notice >> text=Found no cat's face")
    assert other.locator("#my-cat img, #my-draw").count() == 0
    upload_to(other, "#my-upload", cat[:-8], "cat.safetensors")
    other.wait_for_selector("#my-photo .notice.error >> text=no cat that was drawn by this model")
    upload_to(other, "#my-upload", cat, "cat.safetensors")
    other.wait_for_selector("#my-files a")
    assert other.locator("#my-cat img").count() == 1
    address_of = [each.locator("#my-files a").first.get_attribute("href") for each in (page, other)]
    assert address_of[0] != address_of[1]
    assert page.request.get(f"{address}my-cat/nobody/cat.png").status == 404

    page.locator("#my-neighbours button").first.click()
    page.wait_for_selector("#my-nearest img")
    assert page.locator("#my-nearest .cats img").count() == 12
    assert said == []
    left = sum(file.stat().st_size for file in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if file.is_file())
    assert left == 0
    page.close()
    other.close()


def test_your_cat_on_a_phone(browser, address, photo):
    """Photo, button and drawing follow each other, the drawing stays in sight, a finger drags the points."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.set_default_timeout(180_000)
    page.goto(address)
    page.get_by_role("tab", name="Your cat").click()
    page.wait_for_selector("#my-camera")
    with page.expect_file_chooser() as chooser:
        page.click("#my-camera")
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files({"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": jpeg(photo)})
    page.wait_for_selector("#my-draw")
    face = page.locator("#my-face img").first.get_attribute("src")
    mouth = page.locator(".point .dot").nth(2).bounding_box()
    touch = page.context.new_cdp_session(page)
    for kind, shift in (("touchStart", 0), ("touchMove", 15), ("touchEnd", None)):
        points = [] if shift is None else [{"x": mouth["x"] + 4, "y": mouth["y"] + 4 + shift}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function("face => document.querySelector('#my-face img').src != face", arg=face)
    page.click("#my-draw")
    page.wait_for_selector("#my-files a")
    boxes = [page.locator(place).first.bounding_box()["y"] for place in (".points", "#my-cat img", "#my-direction-1")]
    assert boxes == sorted(boxes)
    page.locator("#my-morph-drawn").scroll_into_view_if_needed()
    cat = page.locator("#my-cat img").first.bounding_box()
    assert cat["y"] >= 0 and cat["y"] + cat["height"] < 422
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser, address, scheme):
    """The contrast of text is 4.5:1 or more (WCAG 2.2, 1.4.3), on every tab."""
    from playwright.sync_api import TimeoutError

    contrast = (Path(__file__).parent / "contrast.js").read_text()
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(180_000)
    page.goto(address)
    places = ["#new-cats img", "#slider-cat img", "#morph-loop img", "#my-photo .notice", "#runs .metrics"]
    for tab, place in zip(("New cats", "Slider cat", "Morph", "Your cat", "Runs"), places, strict=True):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(place)
        with contextlib.suppress(TimeoutError):  # Text that fades in is unreadable for a moment.
            page.wait_for_function(f"Object.keys(({contrast})(4.5)).length == 0", timeout=10_000)
        assert page.evaluate(contrast, 4.5) == {}, tab
    page.close()


def test_a_phone(browser, address):
    """The cat stays in sight while the sliders move, cats come before controls, a morph's cats stand side by side."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.set_default_timeout(180_000)

    def box(place: str) -> dict:
        return page.locator(place).first.bounding_box()

    page.goto(address + "?cat=5")
    page.wait_for_selector("#slider-cat img")
    page.locator("#direction-4 input[type=range]").scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 400)")
    cat, slider = box("#slider-cat img"), box("#direction-4")
    assert cat["y"] >= 0 and cat["y"] + cat["height"] < 422 and slider["y"] < 844
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("tab", name="New cats").click()
    page.wait_for_selector("#new-cats img")
    assert box("#new-cats img")["y"] < box("#draw")["y"] and box("#new-cats img")["y"] < 600
    page.get_by_role("tab", name="Morph").click()
    page.wait_for_selector("#morph-loop img")
    first, second = box("#morph-first img"), box("#morph-second img")
    assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"] and first["y"] < 600
    assert box("#morph-between img")["y"] < box("#morph-sample-first")["y"]
    page.get_by_role("tab", name="Runs").click()
    page.wait_for_selector("#runs .metrics")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390  # A wide table scrolls inside itself.
    page.close()


def test_numbers_out_of_range_and_another_model(browser, address, capsys):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(180_000)
    page.goto(address)
    page.wait_for_selector("#new-cats img")
    for typed, shown in (("-5", "0"), ("1e300", str(2**53)), ("", "0")):
        page.fill("#seed input", typed)
        page.press("#seed input", "Enter")
        page.wait_for_function("shown => document.querySelector('#seed input').value == shown", arg=shown)
    page.fill("#count input[type=number]", "100000")
    page.press("#count input[type=number]", "Enter")
    page.locator("#count input[type=number]").blur()
    page.wait_for_function("document.querySelectorAll('#new-cats img').length == 100")
    page.locator("#model input").click()
    page.get_by_role("option", name="second").click()
    page.wait_for_selector("#new-cats a[href*='runs%2Fsecond']")
    assert page.locator(".notice.error").count() == 0
    page.close()
    assert "Traceback" not in capsys.readouterr().err


def test_the_page_draws_the_cats_of_make_predict(session, run, composed, tmp_path):
    from vae.predict_model import predict

    config = composed("predict", f"run={run}", f"out={tmp_path}", "num_images=5", "seed=3", "grid=false")
    files = predict(config)
    from vae.visualization.images import to_uint8

    for path, levels in zip(files, to_uint8(session.cats(5, 3, config.temperature)), strict=True):
        assert (np.asarray(Image.open(path)) == levels).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (-1, 0), (99, 10), (float("nan"), 5), (float("inf"), 5), (None, 5), ("cat", 5), ([1], 5), ("4", 4)],
)
def test_numbers_are_clamped(value, expected):
    import gradio as gr

    from vae.app.limits import clamp, clamp_inputs

    clamp_inputs()
    assert clamp(value, 0, 10, 5) == expected
    assert gr.Number(5, precision=0, minimum=0, maximum=10, render=False).preprocess(value) == expected
    assert gr.Slider(0, 10, 5, render=False).preprocess(value) == expected


def test_models_on_the_page(catalog, run):
    assert list(catalog.folders()) == ["runs/first", "runs/second"] and catalog.default == "runs/first"
    assert catalog.session("runs/second").run == run.with_name("second") and catalog.session() is catalog.session("")
    for name in ("runs/third", "../first", "/etc"):
        with pytest.raises(InputError, match="no model"):
            catalog.session(name)


HTML = b"<html><script>alert(1)</script></html>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


def test_no_way_to_a_file(address, run):
    """Neither files of this machine, nor addresses, nor what somebody has uploaded is handed out."""
    import httpx

    with httpx.Client(base_url=address, trust_env=False) as client:
        uploaded = []
        for name, data in (("cat.html", HTML), ("cat.svg", SVG), ("../../cat.png", HTML)):
            answer = client.post("gradio_api/upload", files={"files": (name, data)})
            assert answer.status_code == 200
            uploaded += answer.json()
        assert all(Path(path).is_relative_to(os.environ["GRADIO_TEMP_DIR"]) for path in uploaded)
        secrets = [
            *uploaded,
            str(run / "config.yaml"),
            "/etc/passwd",
            "../" * 20 + "etc/passwd",
            "http://127.0.0.1:1/x",
        ]
        for route in ("file=", "file/", "proxy=", "stream/", "%66ile=", "./file="):
            for secret in (*secrets, "%2e%2e%2f" * 20 + "etc%2fpasswd"):
                answer = client.get(f"gradio_api/{route}{secret}")
                assert answer.status_code == 404 and b"alert" not in answer.content
        answer = client.post("gradio_api/upload", files={"files": ("cat.png", bytes(22 << 20))})
        assert answer.status_code == 413
        for path in uploaded:
            Path(path).unlink()


def test_fifty_uploads_at_once(address, photo, session):
    """All are received, few at a time; each is read or refused in a line, and then gone."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from vae.app.uploads import take_upload

    kinds = [jpeg(photo), HTML, SVG, jpeg(photo)[:500], b""]
    sent = [data + str(number).encode() for number in range(10) for data in kinds]  # the same bytes would be one file

    def lying() -> set[Path]:
        return {path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()}

    before = lying()
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda data: client.post("gradio_api/upload", files={"files": ("a.jpg", data)}), sent))
    assert [answer.status_code for answer in answers] == [200] * 50
    read = []
    for answer in answers:
        try:
            read.append(take_upload(answer.json()[0]).shape)
        except InputError:
            read.append(None)
    assert read == [photo.shape, None, None, None, None] * 10
    assert lying() == before


def test_too_much_is_sent_away(address, monkeypatch):
    import httpx

    from vae.app import server as app

    left = Path(os.environ["GRADIO_TEMP_DIR"]) / "left"
    left.write_bytes(b"12")
    monkeypatch.setattr(app, "MAX_UPLOAD_BYTES", 1)
    with httpx.Client(base_url=address, trust_env=False) as client:
        assert client.post("gradio_api/upload", files={"files": ("a.jpg", b"1")}).status_code == 503
    left.unlink()


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_who_may_open_the_page(run, monkeypatch, capsys, host, warns):
    import httpx
    import uvicorn

    from vae.app.server import listening, serve

    answers = {}

    def ask(server, sockets):  # the server as it would run, asked by two names of this machine
        transport = httpx.ASGITransport(server.config.app)

        async def get(name):
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as client:
                return (await client.get("/cats.exe")).status_code

        import asyncio

        answers.update({name: asyncio.run(get(name)) for name in ("127.0.0.1", "evil.example")})

    monkeypatch.setattr(uvicorn.Server, "run", ask)
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    serve(run, run.parent, host, port)
    said = capsys.readouterr()
    assert ("warning: host=0.0.0.0" in said.err) == warns and f":{port}" in said.out
    assert answers == {"127.0.0.1": 404, "evil.example": 404 if warns else 400}
