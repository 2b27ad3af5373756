"""Take the screenshots of the web page for the documentation, in Chromium: `make demo && make docs-images`."""

import io
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from vae.app.catalog import Catalog
from vae.app.server import web
from vae.visualization.run_gallery import find_runs

IMAGES = Path(__file__).parent / "source" / "images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MAX_BYTES = 150_000  # of a screenshot
TABS = {  # tab → the element that holds its images
    "New cats": "#new-cats",
    "Slider cat": "#slider-cat",
    "Morph": "#morph-loop",
    "My cat": "#my-cat",
    "Runs": "#runs",
}


def main(run: str) -> None:
    catalog = Catalog(run)
    data = catalog.session().model.config.data
    photo = sorted(Path(data.raw_dir).rglob("*.jpg"))[1]
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web(catalog), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{sock.getsockname()[1]}")
        for tab, place in TABS.items():
            page.get_by_role("tab", name=tab).click()
            if tab == "My cat":
                page.set_input_files("#my-upload input[type=file]", photo)
            page.wait_for_selector(f"{place} img")
            if tab == "Runs" and len(find_runs("models")) > 1:
                page.locator("#choose-runs input").click()
                page.get_by_role("option").nth(1).click()
                page.keyboard.press("Escape")
            page.wait_for_timeout(1500)
            take(page, tab.split()[0].lower())
        phone = chromium.new_page(viewport={"width": 390, "height": 844}, device_scale_factor=2)
        phone.goto(f"http://127.0.0.1:{sock.getsockname()[1]}/?cat=17")
        phone.wait_for_selector("#slider-cat img")
        phone.evaluate("scrollBy(0, 620)")
        phone.wait_for_timeout(1500)
        take(phone, "phone")
        chromium.close()
    server.should_exit = True
    thread.join()


def take(page: Page, name: str) -> None:
    """Write a screenshot of the page, compressed until it is small enough."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = IMAGES / f"app-{name}.jpg"
    for quality in range(88, 30, -6):
        image.save(path, quality=quality, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            break
    print(f"{path}: {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "models/runs/demo")
