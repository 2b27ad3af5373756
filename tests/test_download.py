"""`vae.data.download`: whole files and folders or none, whatever the network and the zip file do."""

import hashlib
import io
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae.cli.errors import EnvironmentProblem, InputError
from vae.data import download as module
from vae.data.download import download, unpack, unzip

DATA = bytes(range(256)) * 64


class Server(ThreadingHTTPServer):
    """A web server on loopback: `files` by path, and what goes wrong with them.

    Attributes:
        breaks: after how many bytes of the body the next answers break off (None: not at all), then never again.
        statuses: the status of the next answers, 200 afterwards.
        ranges: whether `Range` is understood.
        claimed: a false Content-Length, added to the true one.
        requests: the header `Range` of every request so far.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.statuses, self.requests = {}, [], [], []
        self.ranges, self.claimed, self.etag = True, 0, '"first"'

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, body = self.server, self.server.files.get(self.path.lstrip("/"))
        server.requests.append(self.headers["Range"])
        status = server.statuses.pop(0) if server.statuses else 200 if body is not None else 404
        if status != 200:
            self.send_error(status)
            return
        start = 0
        if self.headers["Range"] and server.ranges and self.headers["If-Range"] == server.etag:
            start, status = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(status)
        if server.ranges:
            self.send_header("ETag", server.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start + server.claimed))
        self.end_headers()
        self.wfile.write(body[start:][: server.breaks.pop(0) if server.breaks else None])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.files["cats.zip"] = DATA
        yield server
        server.shutdown()


def nothing_else(folder, *names):
    """Whether these are the only files below a folder, hidden ones included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == sorted(names)


def test_a_file_arrives_whole(server, tmp_path):
    download(server.url("cats.zip"), tmp_path / "new" / "cats.zip")
    assert (tmp_path / "new" / "cats.zip").read_bytes() == DATA
    assert nothing_else(tmp_path, "new/cats.zip")


def test_a_file_that_is_there_is_not_fetched(server, tmp_path):
    (tmp_path / "cats.zip").write_bytes(b"mine")
    download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert (tmp_path / "cats.zip").read_bytes() == b"mine" and server.requests == []


def test_an_empty_file_is_a_file(server, tmp_path):
    server.files["empty"] = b""
    download(server.url("empty"), tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_broken_connection_is_resumed(server, tmp_path):
    server.breaks = [1000, 3000]
    download(server.url("cats.zip"), tmp_path / "cats.zip", pause=0)
    assert (tmp_path / "cats.zip").read_bytes() == DATA
    assert server.requests == [None, "bytes=1000-", "bytes=4000-"]


def test_a_server_that_cannot_resume_is_asked_again(server, tmp_path):
    server.ranges, server.breaks = False, [5000, 1000]
    download(server.url("cats.zip"), tmp_path / "cats.zip", pause=0)
    assert (tmp_path / "cats.zip").read_bytes() == DATA
    assert server.requests == [None] * 3


def test_the_next_process_resumes(server, tmp_path):
    server.breaks = [1000]
    with pytest.raises(EnvironmentProblem, match="1000 of 16384 bytes"):
        server.breaks += [0]
        download(server.url("cats.zip"), tmp_path / "cats.zip", retries=0, pause=0)
    assert not (tmp_path / "cats.zip").exists()
    download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert (tmp_path / "cats.zip").read_bytes() == DATA
    assert server.requests[-1] == "bytes=1000-"
    assert nothing_else(tmp_path, "cats.zip")


def test_a_file_that_changed_meanwhile_is_not_mixed(server, tmp_path):
    server.breaks = [1000, 0]
    with pytest.raises(EnvironmentProblem):
        download(server.url("cats.zip"), tmp_path / "cats.zip", retries=0, pause=0)
    server.files["cats.zip"], server.etag = DATA[::-1], '"second"'
    download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert (tmp_path / "cats.zip").read_bytes() == DATA[::-1]


def test_killed_between_the_last_byte_and_the_rename(server, tmp_path):
    (tmp_path / ".cats.zip.part").write_bytes(DATA)
    (tmp_path / ".cats.zip.tag").write_text(server.etag)
    download(server.url("cats.zip"), tmp_path / "cats.zip", pause=0)
    assert (tmp_path / "cats.zip").read_bytes() == DATA


def test_a_part_of_unknown_origin_is_not_used(server, tmp_path):
    (tmp_path / ".cats.zip.part").write_bytes(b"x" * 100)
    download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert (tmp_path / "cats.zip").read_bytes() == DATA and server.requests == [None]


def test_interrupted_by_the_user(server, tmp_path, monkeypatch):
    def interrupted(response):
        yield response.read1(100)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_chunks", interrupted)
        download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert not (tmp_path / "cats.zip").exists()
    download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert (tmp_path / "cats.zip").read_bytes() == DATA and server.requests[-1].startswith("bytes=")


def test_a_size_that_is_not_the_announced_one(server, tmp_path):
    server.claimed = 7
    with pytest.raises(EnvironmentProblem, match=r"cats\.zip: .*16384 of 16391 bytes"):
        download(server.url("cats.zip"), tmp_path / "cats.zip", retries=1, pause=0)  # then 416, then all of it again
    assert not (tmp_path / "cats.zip").exists() and len(server.requests) == 3


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429]
    download(server.url("cats.zip"), tmp_path / "cats.zip", pause=0)
    assert (tmp_path / "cats.zip").read_bytes() == DATA


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(server, tmp_path, status):
    server.statuses = [status]
    with pytest.raises(EnvironmentProblem, match=str(status)):
        download(server.url("cats.zip"), tmp_path / "cats.zip")
    assert nothing_else(tmp_path) and len(server.requests) == 1


def test_a_server_that_stays_broken(server, tmp_path):
    server.statuses = [500] * 10
    with pytest.raises(EnvironmentProblem, match="500"):
        download(server.url("cats.zip"), tmp_path / "cats.zip", retries=2, pause=0)
    assert len(server.requests) == 3


def test_nobody_answers(tmp_path):
    url = f"http://127.0.0.1:{closed_port()}/cats.zip"
    with pytest.raises(EnvironmentProblem, match="cats.zip: .*refused") as caught:
        download(url, tmp_path / "cats.zip")
    assert "\n" not in str(caught.value) and nothing_else(tmp_path)


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_silence_is_a_break(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(EnvironmentProblem, match="timed out"):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/cats.zip", tmp_path / "cats.zip", timeout=0.05)


def test_the_digest_is_checked(server, tmp_path):
    url = server.url("cats.zip")
    download(f"{url}#sha256={hashlib.sha256(DATA).hexdigest().upper()}", tmp_path / "right.zip")
    download(f"{url}#md5={hashlib.md5(DATA).hexdigest()}", tmp_path / "right_too.zip")
    with pytest.raises(EnvironmentProblem, match="another file"):
        download(f"{url}#sha256={'0' * 64}", tmp_path / "wrong.zip")
    assert nothing_else(tmp_path, "right.zip", "right_too.zip")


@pytest.mark.parametrize("url", ["cats.zip", "https://example.org/cats.zip#sha0=12"])
def test_what_is_not_a_url(tmp_path, url):
    with pytest.raises(InputError):
        download(url, tmp_path / "cats.zip")
    assert nothing_else(tmp_path)


def zipped(members):
    """The bytes of a zip file with these members, {name or ZipInfo: bytes}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_a_zip_file_is_extracted(tmp_path, capsys):
    members = {
        "a.jpg": b"1",
        "CAT_00/a.jpg": b"2" * 5000,
        "CAT_00/a.jpg.cat": b"3",
        "windows\\b.jpg": b"4",
        "empty/": b"",
    }
    (tmp_path / "cats.zip").write_bytes(zipped(members))
    unzip(tmp_path / "cats.zip", tmp_path / "new" / "cats")
    assert nothing_else(tmp_path / "new" / "cats", "a.jpg", "CAT_00/a.jpg", "CAT_00/a.jpg.cat", "windows/b.jpg")
    assert (tmp_path / "new/cats/CAT_00/a.jpg").read_bytes() == b"2" * 5000


def link():
    member = zipfile.ZipInfo("a.jpg")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "b/../../a.jpg", "/a.jpg", "//host/a.jpg", "..\\a.jpg", "C:\\a.jpg", "C:a.jpg", link()],
    ids=str,
)
def test_a_hostile_member_is_refused(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "cats.zip").write_bytes(zipped({"good.jpg": b"1", name: b"/etc/passwd"}))
    with pytest.raises(EnvironmentProblem, match="cats.zip is refused") as caught:
        unzip(inner / "cats.zip", inner / "cats")
    assert "\n" not in str(caught.value)
    assert nothing_else(tmp_path, "inner/cats.zip") and [path.name for path in inner.iterdir()] == ["cats.zip"]


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html>Not found</html>", zipped({"a.jpg": DATA})[:-50], zipped({"a": b"1", "a/b": b"2"})],
    ids=["empty", "web page", "cut off", "file that is a folder"],
)
def test_what_is_not_a_zip_file(tmp_path, content):
    (tmp_path / "cats.zip").write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="cats.zip is not a sound zip file"):
        unzip(tmp_path / "cats.zip", tmp_path / "cats")
    assert nothing_else(tmp_path, "cats.zip") and not (tmp_path / "cats").exists()


SOUND = zipped({"a.jpg": DATA, "b/c.jpg": b"cat"})


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(SOUND) - 1), byte=st.integers(0, 255))
def test_damage_gives_a_clear_error_or_does_not_matter(tmp_path_factory, at, byte):
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "cats.zip").write_bytes(SOUND[:at] + bytes([byte]) + SOUND[at + 1 :])
    try:
        unzip(folder / "cats.zip", folder / "cats")
    except EnvironmentProblem:
        assert not (folder / "cats").exists()
    else:
        assert {path.read_bytes() for path in (folder / "cats").rglob("*") if path.is_file()} <= {DATA, b"cat"}
    shutil.rmtree(folder)


def test_an_extraction_that_is_killed_leaves_no_folder(tmp_path, monkeypatch):
    (tmp_path / "cats.zip").write_bytes(SOUND)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        copies = []

        def interrupted(source, file, size):
            assert not (tmp_path / "cats").exists()
            if copies:
                raise KeyboardInterrupt
            copies.append(file.write(source.read()))

        patch.setattr(shutil, "copyfileobj", interrupted)
        unzip(tmp_path / "cats.zip", tmp_path / "cats")
    assert nothing_else(tmp_path, "cats.zip") and not (tmp_path / "cats").exists()


def test_what_a_killed_process_left_is_not_mixed_in(tmp_path):
    (tmp_path / "cats.zip").write_bytes(SOUND)
    (tmp_path / ".cats.part").mkdir()
    (tmp_path / ".cats.part" / "half.jpg").write_bytes(b"half")
    unzip(tmp_path / "cats.zip", tmp_path / "cats")
    assert nothing_else(tmp_path, "cats.zip", "cats/a.jpg", "cats/b/c.jpg")


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "cats.zip").write_bytes(SOUND)
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="not empty"):
        unzip(tmp_path / "cats.zip", tmp_path / "cats")
    assert nothing_else(tmp_path, "cats.zip", "cats/mine.jpg")


def test_a_full_disk_is_told_as_it_is(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    (tmp_path / "cats.zip").write_bytes(SOUND)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        unzip(tmp_path / "cats.zip", tmp_path / "cats")
    assert nothing_else(tmp_path, "cats.zip")


def bomb(claimed: int | None = None) -> bytes:
    """A small zip file that becomes 100 MB, or says of itself that it is smaller."""
    data = bytearray(zipped({"zeros.jpg": bytes(100_000_000)}))
    if claimed is not None:
        for signature, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
            place = data.index(signature) + at
            data[place : place + 4] = claimed.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "content"),
    [("bomb.zip", bomb()), ("liar.zip", bomb(1000)), ("bomb.tgz", lambda: None)],
    ids=["honest", "lies", "tar"],
)
def test_a_bomb_is_refused(tmp_path, name, content):
    if callable(content):
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            member = tarfile.TarInfo("zeros.jpg")
            member.size = 100_000_000
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EnvironmentProblem, match=rf"{name} is (refused: it would become|not a sound zip)"):
        unpack(tmp_path / name, tmp_path / "cats")
    assert nothing_else(tmp_path, name)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, "../a.jpg", "/../../a.jpg"], ids=str
)
def test_a_hostile_tar_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "cats.tar", "w") as archive:
        member = tarfile.TarInfo(kind if isinstance(kind, str) else "a.jpg")
        if isinstance(kind, bytes):
            member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(EnvironmentProblem, match=r"cats.tar is refused|leaves"):
        unpack(tmp_path / "cats.tar", tmp_path / "in" / "cats")
    assert nothing_else(tmp_path, "cats.tar")
