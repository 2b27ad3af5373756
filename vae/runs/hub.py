"""Models on the Hugging Face Hub, called `hub:OWNER/NAME` or, at a commit, tag or branch, `hub:OWNER/NAME@REVISION`.

Only the files of a model are downloaded, and they are read like any folder: plain numbers and plain values, checked
against each other, of which nothing is run. The cache is that of huggingface_hub, and so are the token (`hf auth
login` or `HF_TOKEN`) and the address (`HF_ENDPOINT`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vae.cli.errors import EnvironmentProblem, InputError
from vae.cli.extras import require

PREFIX = "hub:"
FILES = ("config.yaml", "*.safetensors", "metrics.json", "README.md", "figures/samples.png")  # of a model
COMMIT = re.compile(r"[0-9a-f]{40}")
NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(@[\w./-]{1,200})?")


class Repository(NamedTuple):
    """A repository of the Hub at a revision."""

    id: str  # OWNER/NAME
    revision: str | None  # a commit, tag or branch; None: the main branch


def is_name(run: object) -> bool:
    """Whether a run is named as a repository of the Hub."""
    return str(run).startswith(PREFIX)


def parse(name: object) -> Repository:
    """Parse `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`.

    Raises:
        InputError: it is neither.
    """
    text = str(name).removeprefix(PREFIX)
    if not NAME.fullmatch(text):
        raise InputError(f"{name} names no repository of the Hub: write hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    identifier, _, revision = text.partition("@")
    return Repository(identifier, revision or None)


def download(name: str) -> Path:
    """Download the files of a model, or find them in the cache.

    Args:
        name: see `parse`.

    Returns:
        Their folder in the cache, where they are links.

    Raises:
        InputError: there is no such repository or revision.
        EnvironmentProblem: the Hub cannot be reached and the cache lacks the model, or huggingface_hub is missing.
    """
    repository = parse(name)
    require("huggingface_hub", "hub", name)
    from huggingface_hub import errors, snapshot_download

    options = {"repo_id": repository.id, "revision": repository.revision, "allow_patterns": list(FILES)}
    if COMMIT.fullmatch(repository.revision or ""):  # which never changes: the cache needs no question to the Hub
        with suppress(errors.LocalEntryNotFoundError):
            folder = Path(snapshot_download(**options, local_files_only=True))
            if (folder / "config.yaml").is_file() and len(list(folder.glob("*.safetensors"))) > 1:  # not interrupted
                return folder
    with _one_line(name):
        return Path(snapshot_download(**options))


def push(folder: Path, repository: Repository, licence: str | None = None) -> str:
    """Upload a folder as a model repository, which is made if missing.

    Args:
        folder: of the model; the card in it gets the header that the Hub reads.
        repository: where to; its revision is a branch.
        licence: of the training images, in words.

    Returns:
        The address of the commit.

    Raises:
        InputError, EnvironmentProblem: see `download`; there is no token, or it does not allow to write.
    """
    name = f"{PREFIX}{repository.id}"
    require("huggingface_hub", "hub", name)
    from huggingface_hub import HfApi

    card = folder / "README.md"
    if card.is_file():
        card.write_text(header(licence) + card.read_text(encoding="utf-8"), encoding="utf-8")
    with _one_line(name):
        api = HfApi()
        api.create_repo(repository.id, exist_ok=True)
        message = "Export a model with VAE Cats"
        commit = api.upload_folder(
            repo_id=repository.id, folder_path=folder, revision=repository.revision, commit_message=message
        )
    return commit.commit_url


def header(licence: str | None) -> str:
    """Return the YAML header of a model card on the Hub."""
    import yaml

    facts = {
        "library_name": "vae-cats",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["vae", "variational-autoencoder", "cats"],
    }
    if licence:
        facts |= {"license": "other", "license_name": licence}
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---\n"


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one line."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise InputError(f"{name} is gated: ask for access on its page, then log in with `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{name}: there is no such repository, or it is private: check the name, or log in with `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{name}: there is no such revision: name a commit, tag or branch of it") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise EnvironmentProblem(
            f"{name}: the Hub cannot be reached and the model is not in the cache: connect to the network and try again"
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"{name} names no repository of the Hub: {' '.join(str(error).split())[:200]}") from None
    except errors.LocalTokenNotFoundError:
        raise InputError(f"{name}: there is no token: log in with `hf auth login`, or set HF_TOKEN") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise InputError(f"{name}: the Hub refuses (status {status}): use a token that may write there") from None
        raise EnvironmentProblem(f"{name}: the Hub answers with an error (status {status}): try again later") from None
    except Exception as error:  # huggingface_hub lets the errors of its HTTP client through
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise EnvironmentProblem(f"{name}: the Hub cannot be reached: connect to the network and try again") from None
