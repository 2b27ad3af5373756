"""Files of a data set in an object store: s3://, gs://, az:// or file://.

Credentials and the address of a server other than Amazon's come from the environment, as for every S3 client:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`.
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.extras import require
from vae.runs.files import atomic_write

MAX_RETRIES = 3
RETRY_SECONDS = 60  # of all tries of one request


class Bucket:
    """A folder of an object store.

    Args:
        url: such as `s3://BUCKET/FOLDER`.
        option: the option that names it, for messages.

    Raises:
        InputError: the URL is none that can be opened.
        EnvironmentProblem: the package obstore is missing.
    """

    def __init__(self, url: str, option: str = "data.shards.remote") -> None:
        require("obstore", "shards", option)
        from obstore.store import from_url

        self.url = url.rstrip("/")
        options = {"allow_http": True} if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://") else None
        retries = {"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        if self.url.startswith("file://"):
            Path(self.url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
        try:
            self.store = from_url(self.url, client_options=options, retry_config=retries)
        except Exception as error:  # obstore raises its own errors and ValueError
            raise InputError(f"{option}={url} cannot be opened: {_first_line(error)}") from None

    def get(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is no such file.

        Raises:
            EnvironmentProblem: the store does not answer, or refuses.
        """
        try:
            return bytes(self.store.get(name).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error) from None

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to a path, atomically.

        Raises:
            EnvironmentProblem: there is no such file, or the store does not answer, or refuses.
        """
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            try:
                for part in self.store.get(name):
                    file.write(part)
            except FileNotFoundError:
                raise EnvironmentProblem(f"{self.url}/{name} is missing: run `make data` again") from None
            except OSError:  # of the local disk
                raise
            except Exception as error:
                raise self._problem(error) from None

    def put(self, path: Path, name: str) -> None:
        """Copy a file into the store.

        Raises:
            EnvironmentProblem: the store does not answer, or refuses.
        """
        try:
            self.store.put(name, path)
        except Exception as error:
            raise self._problem(error) from None

    def list_files(self) -> dict[str, tuple[int, str]]:
        """Return the bytes and the version of every file.

        Raises:
            EnvironmentProblem: the store does not answer, or refuses.
        """
        try:
            pages = self.store.list()
            return {item["path"]: (item["size"], str(item["e_tag"])) for page in pages for item in page}
        except Exception as error:
            raise self._problem(error) from None

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the bytes of those files that exist."""
        wanted = set(names)
        try:
            return {item["path"]: item["size"] for page in self.store.list() for item in page if item["path"] in wanted}
        except Exception as error:
            raise self._problem(error) from None

    def _problem(self, error: Exception) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"{self.url} cannot be reached ({_first_line(error)}): check address, AWS_ENDPOINT_URL and credentials"
        )


def _first_line(error: Exception) -> str:
    """Return the beginning of an error, which obstore continues with debug output."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:200]}…"
