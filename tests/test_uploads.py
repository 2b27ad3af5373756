"""`vae.data.image_bytes` and `vae.app.uploads`: files from anybody."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vae.app import uploads
from vae.app.uploads import take_upload
from vae.cli.errors import InputError
from vae.data.image_bytes import decode_image


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def claims(width: int, height: int) -> bytes:
    """A small PNG file whose header speaks of a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


BLACK = Image.new("L", (80, 80))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_usual_pictures(kind):
    photo = decode_image(encoded(Image.new("RGB", (80, 60), "orange"), kind))
    assert photo.shape == (60, 80, 3) and photo.dtype == np.uint8
    assert photo.mean((0, 1)) == pytest.approx((255, 165, 0), abs=3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_unusual_modes(mode):
    photo = decode_image(encoded(Image.new(mode, (40, 30)), "TIFF" if mode == "CMYK" else "PNG"))
    assert photo.shape == (30, 40, 3)


def test_transparent_is_white():
    assert (decode_image(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG")) == 255).all()


def test_exif_turns_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encoded(Image.new("RGB", (80, 40)), "JPEG", exif=exif)).shape == (80, 40, 3)


def test_a_large_photo_gets_smaller():
    assert decode_image(encoded(Image.new("L", (4000, 2000)), "JPEG")).shape == (800, 1600, 3)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"I am a cat", "not an image"),
        (b"", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (claims(10_000, 10_000), "100 megapixels"),
        (claims(60_000, 60_000), "megapixels"),
        (encoded(Image.effect_noise((300, 300), 90), "JPEG")[:900], "damaged"),
        (encoded(Image.new("RGB", (8, 8)), "PNG"), "too few"),
        (
            encoded(Image.new("L", (80, 80)), "GIF", save_all=True, append_images=[Image.new("L", (80, 80), 9)]),
            "2 frames",
        ),
    ],
    ids=["text", "nothing", "svg", "100 megapixels", "3.6 gigapixels", "half a file", "8 pixels", "animation"],
)
def test_what_is_refused(tmp_path, data, word):
    path = tmp_path / "cat.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=word) as refusal:
        take_upload(path)
    assert "\n" not in str(refusal.value)
    assert not path.exists()


def test_a_file_is_gone_once_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "cat.png"
    path.write_bytes(encoded(Image.new("RGB", (20, 20)), "PNG"))
    take_upload(path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(uploads, "MAX_MEGABYTES", 0)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="larger than"):
        take_upload(path)
    assert list(tmp_path.iterdir()) == []
