"""Take the screenshots of the web page for the documentation, in Chromium: `make docs-images`.

They show the model in the box; the photo is a drawn cat.
"""

import io
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from vae.app.catalog import Catalog
from vae.app.server import web
from vae.cli.locations import BOX
from vae.data.synthetic.drawn import draw_cat

IMAGES = Path(__file__).parent / "source" / "images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MAX_BYTES = 150_000  # of a screenshot
SETTLE_MS = 1500  # until nothing moves any more
TABS = {  # tab → the element that holds its images
    "New cats": "#new-cats",
    "Slider cat": "#slider-cat",
    "Morph": "#morph-loop",
    "Your cat": "#my-face",
    "Runs": "#runs",
}


def main() -> None:
    """Visit the page as a desktop and as a phone."""
    with served() as (chromium, address):
        visit_desktop(chromium, address)
        visit_phone(chromium, address)


@contextmanager
def served() -> Iterator[tuple[Browser, str]]:
    """Serve the page, and give a browser and the address."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web(Catalog(BOX)), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield chromium, f"http://127.0.0.1:{sock.getsockname()[1]}/"
        chromium.close()
    server.should_exit = True
    thread.join()


def visit_desktop(browser: Browser, address: str) -> None:
    """Take a screenshot of every tab."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    photo = io.BytesIO()
    draw_cat(3)[0].save(photo, "PNG")
    for tab, place in TABS.items():
        page.get_by_role("tab", name=tab).click()
        if tab == "Your cat":
            file = {"name": "cat.png", "mimeType": "image/png", "buffer": photo.getvalue()}
            page.set_input_files("#my-upload input[type=file]", file)
        page.wait_for_selector(f"{place} img")
        if tab == "Runs":
            page.locator("#runs .metrics tr").nth(3).scroll_into_view_if_needed()
        page.wait_for_timeout(SETTLE_MS)
        take(page, tab.split()[0].lower())


def visit_phone(browser: Browser, address: str) -> None:
    """Take a screenshot of the sliders, scrolled down."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.goto(f"{address}?cat=17")
    page.wait_for_selector("#slider-cat img")
    page.wait_for_timeout(SETTLE_MS)
    page.evaluate("scrollBy(0, 620)")
    page.wait_for_timeout(SETTLE_MS)
    take(page, "phone")


def take(page: Page, name: str) -> None:
    """Write a screenshot as JPEG, compressed until it is small enough."""
    save(Image.open(io.BytesIO(page.screenshot())), f"app-{name}")


def save(image: Image.Image, name: str) -> None:
    """Write an image as JPEG, compressed until it is small enough."""
    path = IMAGES / f"{name}.jpg"
    for quality in range(88, 30, -6):
        image.convert("RGB").save(path, quality=quality, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            break
    print(f"{path}: {path.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main()
