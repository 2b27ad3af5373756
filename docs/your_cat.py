"""Take the pictures of the tutorial "Your cat in two minutes", in Chromium: `make docs-images`.

The cat is drawn by `vae.data.synthetic`; the photo in which no face is found is Chelsea by Stéfan van der Walt, CC0,
from scikit-image.
"""

import io

from PIL import Image
from playwright.sync_api import Page
from screenshots import IMAGES, SETTLE_MS, save, served

from vae.data.synthetic.drawn import draw_cat

CAT, SECOND = 1, 5  # seeds
PATIENCE_MS = 600_000  # for a projection


def main() -> None:
    """Go through the steps of the tutorial."""
    with served() as (browser, address):
        page = browser.new_page(viewport={"width": 1180, "height": 860})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.get_by_role("tab", name="Your cat").click()
        upload(page, "#my-upload", encoded(draw_cat(CAT)[0]))
        page.wait_for_selector("#my-face img")
        take(page, "#my-photo", "points")
        take(page, "#my-face", "face")
        page.click("#my-draw")
        page.wait_for_function("Number(document.querySelector('#my-cat progress')?.value) > 0.3")
        save(Image.open(io.BytesIO(page.locator("#my-cat").screenshot())), "your-cat-progress")
        page.wait_for_selector("#my-files a")
        take(page, "#my-cat", "drawn")
        before = page.locator("#my-cat img").first.get_attribute("src")
        page.locator("#my-direction-1 input[type=range]").focus()
        for _ in range(40):  # steps of 0.05
            page.keyboard.press("ArrowLeft")
        page.wait_for_function("src => document.querySelector('#my-cat img').src != src", arg=before)
        take(page, "#my-cat", "darker")
        upload(page, "#my-morph-upload", encoded(draw_cat(SECOND)[0]))
        page.wait_for_selector("#my-film .downloads")
        film = page.request.get(address + page.locator("#my-film a[download$=gif]").get_attribute("href")).body()
        save(strip(Image.open(io.BytesIO(film))), "your-cat-film")

        upload(page, "#my-upload", (IMAGES / "chelsea.jpg").read_bytes())
        page.wait_for_selector("#my-photo >> text=Found no cat's face")
        take(page, "#my-photo", "not-found")
        page.locator(".point").nth(2).focus()
        page.keyboard.press("ArrowUp")
        page.wait_for_selector("#my-draw")
        page.click("#my-draw")
        page.wait_for_selector("#my-files a")
        take(page, "#my-cat", "by-hand")


def take(page: Page, place: str, name: str) -> None:
    """Write one element of the page."""
    page.wait_for_timeout(SETTLE_MS)
    save(Image.open(io.BytesIO(page.locator(place).screenshot())), f"your-cat-{name}")


def upload(page: Page, place: str, data: bytes) -> None:
    """Upload a photo."""
    page.set_input_files(f"{place} input[type=file]", {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": data})


def encoded(image: Image.Image) -> bytes:
    """Return an image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def strip(film: Image.Image, count: int = 7, side: int = 128) -> Image.Image:
    """Return frames of the first half of a film side by side, enlarged."""
    sheet = Image.new("RGB", (count * side, side))
    for index in range(count):
        film.seek(round(index * (film.n_frames // 2) / (count - 1)))
        sheet.paste(film.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), (index * side, 0))
    return sheet


if __name__ == "__main__":
    main()
