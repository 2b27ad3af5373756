"""Bad inputs of every kind, made by code: photos, names and `.cat` files as the internet has them.

.venv/bin/python -m tests.dirty FOLDER        # to look at them
"""

import codecs
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms

from vae.data.detect import stored
from vae.data.landmarks import format_landmarks
from vae.data.synthetic.drawn import draw_cat

USED, IGNORED = "used", "ignored"  # the others are reasons of skipped.csv
UNREADABLE, NONE, BAD, SMALL, OUTSIDE = "unreadable", "no landmarks", "bad landmarks", "small face", "outside the photo"
TURNS = {  # EXIF orientation → how the upright picture lies in the file
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class Input(NamedTuple):
    """A photo, or what pretends to be one.

    Attributes:
        name: its path in the folder.
        content: its bytes, or what makes it at a path.
        landmarks: what becomes of it with align=landmarks.
        center: what becomes of it with align=center.
        cat: its `.cat` file likewise; None: there is none.
        like: another one, whose face it has …
        off: … but for so many levels, on average.
    """

    name: str | bytes
    content: bytes | Callable[[str], object]
    landmarks: str
    center: str
    cat: bytes | Callable[[str], object] | None
    like: str = ""
    off: float = 0.0


@cache
def cat() -> tuple[Image.Image, np.ndarray]:
    """A photo of 250×250 pixels, and eyes and mouth in it."""
    picture, points = draw_cat(3)
    small = picture.convert("RGB").resize((250, 250), Image.Resampling.LANCZOS)
    return small, ((points + 0.5) * (250 / picture.width, 250 / picture.height) - 0.5).round(1)[:3]


def encode(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def numbers(points: np.ndarray) -> bytes:
    return f"{len(points)} {format_landmarks(np.asarray(points, float))}\n".encode()


def oriented(orientation: int) -> tuple[bytes, bytes]:
    """The photo as a camera held in some way stores it, and its landmarks there."""
    picture, points = cat()
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = picture.transpose(TURNS[orientation]) if orientation in TURNS else picture
    content = encode(turned, "JPEG", quality=95, exif=exif)
    return content, numbers(stored(points, orientation, *picture.size))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG file of one bit a pixel with any header."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def zeros(count: int) -> bytes:
    """So many zero bytes, compressed."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(count >> 20)) + packer.flush()


def corpus() -> list[Input]:
    """All of them."""
    picture, points = cat()
    good, grey = numbers(points), picture.convert("L")
    jpeg, plain = encode(picture, "JPEG", quality=95), encode(picture, "PNG")
    clear = picture.copy()
    clear.putalpha(0)
    opaque = picture.copy()
    opaque.putalpha(255)
    other = Image.new("RGB", picture.size, "red")
    deep = cv2.imencode(".png", np.asarray(picture)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    start_of_frame = jpeg.index(b"\xff\xc0")
    huge_jpeg = jpeg[: start_of_frame + 5] + struct.pack(">HH", 20_000, 20_000) + jpeg[start_of_frame + 9 :]
    gif = encode(picture.quantize(64), "GIF")
    bmp, tiff = encode(grey, "BMP"), encode(grey, "TIFF")

    def photo(name: str | bytes, content: object, like: str = "", off: float = 0.0, **options: object) -> Input:
        return Input(name, content, **({"landmarks": USED, "center": USED, "cat": good} | options), like=like, off=off)

    def broken(name: str | bytes, content: object) -> Input:
        return Input(name, content, UNREADABLE, UNREADABLE, good)

    def passed_over(name: str | bytes, content: object) -> Input:
        return Input(name, content, IGNORED, IGNORED, None)

    def marked(name: str, landmarks: str, marks: object, **options: object) -> Input:
        return Input(f"cat_{name}.jpg", jpeg, landmarks, USED, marks, **options)

    def folder(*files: str) -> Callable[[str], None]:
        def make(path: str) -> None:
            for file in files or ("x.txt",):
                os.makedirs(path, exist_ok=True)
                Path(path, file).write_bytes(plain)

        return make

    def link(to: str) -> Callable[[str], None]:
        return lambda path: os.symlink(to, path)

    def sparse(path: str) -> None:
        Path(path).write_bytes(jpeg)
        os.truncate(path, 3 << 30)

    pictures = [
        photo("plain.png", plain),
        photo("plain.jpg", jpeg, like="plain.png", off=3),
        photo("progressive.jpg", encode(picture, "JPEG", quality=95, progressive=True), like="plain.jpg"),
        photo("cmyk.jpg", encode(picture.convert("CMYK"), "JPEG", quality=95), like="plain.png", off=3),
        photo("cmyk.tif", encode(picture.convert("CMYK"), "TIFF"), like="plain.png", off=1),
        photo("grey.png", encode(grey, "PNG")),
        photo("grey.jpg", encode(grey, "JPEG", quality=95), like="grey.png", off=3),
        photo("grey16.png", encode(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"), like="grey.png"),
        photo("grey32.tif", encode(grey.convert("F"), "TIFF"), like="grey.png"),
        photo("deep.png", deep, like="plain.png"),
        photo("bilevel.png", encode(picture.convert("1"), "PNG")),
        photo("palette.png", encode(picture.quantize(256), "PNG"), like="plain.png", off=8),
        photo("palette_clear.png", encode(picture.quantize(255), "PNG", transparency=0)),
        photo("opaque.png", encode(opaque, "PNG"), like="plain.png"),
        photo("clear.png", encode(clear, "PNG"), like="white.png"),
        photo("white.png", encode(Image.new("RGB", picture.size, "white"), "PNG")),
        photo("grey_alpha.png", encode(grey.convert("LA"), "PNG"), like="grey.png"),
        photo("moving.gif", encode(picture, "GIF", save_all=True, append_images=[other] * 3), like="plain.png", off=8),
        photo("moving.png", encode(picture, "PNG", save_all=True, append_images=[other] * 3), like="plain.png"),
        photo(
            "moving.webp",
            encode(picture, "WEBP", lossless=True, save_all=True, append_images=[other] * 3),
            like="plain.png",
        ),
        photo("pages.tif", encode(picture, "TIFF", save_all=True, append_images=[other]), like="plain.png"),
        photo("srgb.jpg", encode(picture, "JPEG", quality=95, icc_profile=srgb), like="plain.jpg"),
        photo("profile_broken.jpg", encode(picture, "JPEG", quality=95, icc_profile=b"profile"), like="plain.jpg"),
        photo("profile_long.jpg", encode(picture, "JPEG", quality=95, icc_profile=bytes(200_000)), like="plain.jpg"),
        photo("exif_broken.jpg", encode(picture, "JPEG", quality=95, exif=b"Exif\0\0MM\0*nothing"), like="plain.jpg"),
        photo("png.jpg", plain, like="plain.png"),
        photo("jpg.png", jpeg, like="plain.jpg"),
        photo("gif.bmp", gif, like="plain.png", off=20),
        photo("tail.jpg", jpeg + b"<script>" * 100, like="plain.jpg"),
        photo("one.png", encode(Image.new("RGB", (1, 1), "red"), "PNG"), landmarks=OUTSIDE, center=SMALL),
        photo("line.png", encode(Image.new("RGB", (3000, 1), "red"), "PNG"), landmarks=OUTSIDE, center=SMALL),
        photo("tower.png", encode(Image.new("RGB", (1, 3000), "red"), "PNG"), landmarks=OUTSIDE, center=SMALL),
        *(photo(f"exif{n}.jpg", oriented(n)[0], cat=oriented(n)[1]) for n in range(1, 10)),
        broken("half.jpg", jpeg[: len(jpeg) // 2]),
        broken("half_progressive.jpg", encode(picture, "JPEG", progressive=True)[:5000]),
        broken("half.png", plain[: len(plain) // 2]),
        broken("half.gif", gif[: len(gif) // 2]),
        broken("beginning.jpg", jpeg[:20]),
        broken("empty.jpg", b""),
        broken("nothing.jpg", bytes(10_000)),
        broken("noise.jpg", np.random.default_rng(0).bytes(10_000)),
        broken("noise_like.jpg", b"\xff\xd8\xff" + np.random.default_rng(0).bytes(10_000)),
        broken("text.jpg", b"a cat"),
        broken("html.jpg", b"<!doctype html><title>404</title><h1>Not found</h1>"),
        broken("svg.jpg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        broken("postscript.jpg", encode(picture, "EPS")),
        broken("pdf.jpg", encode(picture, "PDF")),
        broken("zip.jpg", b"PK\x05\x06" + bytes(18)),
        broken("wide.png", encode(Image.new("1", (40_000, 1)), "PNG")),
        broken("bomb_header.png", png(20_000, 20_000, zlib.compress(b""))),
        broken("bomb.png", png(20_000, 20_000, zeros(20_000 * 2_501))),
        broken("bomb.jpg", huge_jpeg),
        broken("bomb.gif", gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:]),
        broken("bomb.bmp", bmp[:18] + struct.pack("<ii", 30_000, 30_000) + bmp[26:]),
        broken(
            "bomb.tif", tiff.replace(struct.pack("<HHII", 256, 4, 1, 250), struct.pack("<HHII", 256, 4, 1, 1 << 30))
        ),
        broken("sparse.jpg", sparse),
    ]
    names = [
        photo(name, jpeg, like="plain.jpg")
        for name in (
            *(" spaces in it .jpg", "cat \N{CAT FACE}.jpg", "new\nline.jpg", "carriage\rreturn.jpg", "tab\t.jpg"),
            *('quote"s, and commas.jpg', "-rf.jpg", "=1+1.jpg", "$(id);`id`.jpg", "back\\slash.jpg", "%s{0}.jpg"),
            *(
                "UPPER.JPG",
                "Mixed.JpEg",
                "two.cat.jpg",
                "x.jpg.jpg",
                "b" * 247 + ".jpg",
                "e\N{COMBINING ACUTE ACCENT}.jpg",
            ),
            *(b"latin-\xe9.jpg", "\N{CAT FACE}" * 61 + ".jpg", "deep/er/and/deeper/cat.jpg", "photos.jpg/inside.jpg"),
        )
    ]
    names += [
        photo("a" * 251 + ".jpg", jpeg, landmarks=NONE, cat=None),
        *(passed_over(name, jpeg) for name in (".hidden.jpg", "._plain.jpg", ".git/cat.jpg", "__MACOSX/._cat.jpg")),
        *(
            passed_over(name, jpeg)
            for name in ("__MACOSX/cat.jpg", "plain.jpg~", "plain.jpg.part", "no_ending", "x.JPG ")
        ),
        *(
            passed_over(name, b"no picture")
            for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "README.txt", "x.zip")
        ),
        passed_over("folder.jpg", folder()),
        passed_over("loop", link(".")),
        passed_over("round/up", link("..")),
        broken("self.jpg", link("self.jpg")),
        broken("gone.jpg", link("nowhere.jpg")),
        photo("link.png", link("plain.png"), like="plain.png"),
        broken("endless.jpg", link("/dev/zero")),
        broken("pipe.jpg", os.mkfifo),
    ]
    eyes, mouth = points[:2], points[2]
    marks = [
        marked("missing", NONE, None),
        marked("empty", BAD, b""),
        marked("blank", BAD, b" \r\n\t\n"),
        marked("words", BAD, b"3 left eye right eye mouth mouth"),
        marked("nan", BAD, b"3 1 2 nan 4 5 6"),
        marked("infinite", BAD, b"3 1 2 inf 4 5 -inf"),
        marked("overflow", BAD, b"3 1 2 3 4 5 1e999"),
        marked("huge", OUTSIDE, b"3 1e15 1e15 1.000000000001e15 1e15 1e15 1.000000000001e15"),
        marked("huge_face", OUTSIDE, b"3 -1e150 0 1e150 0 0 1e150"),
        marked("hugest", BAD, b"3 -1e308 0 1e308 0 0 1e308"),
        marked("negative", USED, numbers(points - (80, 0))),
        marked("far_negative", OUTSIDE, numbers(points - 5000)),
        marked("few", BAD, numbers(eyes)),
        marked("none_at_all", BAD, b"0"),
        marked("count_too_high", BAD, b"9" + good[1:]),
        marked("count_too_low", BAD, b"3 " + b"1 2 " * 9),
        marked("count_negative", BAD, b"-3" + good[1:]),
        marked("count_fraction", BAD, b"3.0" + good[1:]),
        marked("count_endless", BAD, b"9" * 100_000 + good[1:]),
        marked("odd", BAD, b"3 1 2 3 4 5"),
        marked("equal", SMALL, numbers(np.full((3, 2), 100))),
        marked("equal_eyes", SMALL, numbers(np.array([eyes[0], eyes[0], mouth]))),
        marked("collinear", USED, numbers(np.array([eyes[0], eyes[1], eyes.mean(0)]))),
        marked("swapped", USED, numbers(points[[1, 0, 2]])),
        marked("tiny", SMALL, numbers(points / 20)),
        marked("windows", USED, good.replace(b" ", b"\r\n"), like="plain.jpg"),
        marked("mark", USED, codecs.BOM_UTF8 + good, like="plain.jpg"),
        marked("utf16", BAD, good.decode().encode("utf-16")),
        marked("commas", BAD, good.replace(b" ", b",")),
        marked("decimal_commas", BAD, good.replace(b".", b",") + b" 1,5"),
        marked("other_digits", BAD, "٣ 1 2 3 4 5 6".encode()),
        marked("picture", BAD, jpeg),
        marked("long", BAD, good + b" " * (2 << 20)),
        marked("folder", BAD, folder()),
        marked("pipe", BAD, os.mkfifo),
        marked("endless", BAD, link("/dev/zero")),
        marked("loop", BAD, lambda path: os.symlink(path, path)),
        passed_over("orphan.jpg.cat", good),
    ]
    return pictures + names + marks


def make(folder: Path) -> list[Input]:
    """Write the corpus into a folder; those whose names the file system takes."""
    made = []
    for item in corpus():
        path = os.path.join(os.fsencode(folder), os.fsencode(item.name)).decode(errors="surrogateescape")
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(path, item.content)
            if item.cat is not None:
                _write(path + ".cat", item.cat)
        except (UnicodeError, OSError):
            if not isinstance(item.name, bytes):  # not UTF-8: some systems refuse that
                raise
            continue
        made.append(item._replace(name=os.fsdecode(item.name)))
    return made


def _write(path: str, content: bytes | Callable[[str], object]) -> None:
    if callable(content):
        content(path)
    else:
        Path(path).write_bytes(content)


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])))} bad inputs in {sys.argv[1]}")
