"""An object store on this machine, for benchmarks: moto's server of S3 in a process of its own."""

import subprocess
import sys
from pathlib import Path


def start() -> tuple[subprocess.Popen, str]:
    """Start the server; return its process and its address."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.object_store"], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


class ObjectStore:
    """A server of S3 on this machine; the environment that its clients need."""

    def __enter__(self) -> dict[str, str]:
        self.process, address = start()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        return keys | {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": address,
            "S3_ENDPOINT_URL": address,
        }

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def upload(side: str, environment: dict[str, str]) -> str:
    """Copy what a side has written into a bucket of its name; return the URL."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="a", aws_secret_access_key="b",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket=f"{side}-faces")
    for path in Path(side).rglob("*"):
        if path.is_file():
            name = str(path.relative_to(side))
            client.upload_file(str(path), f"{side}-faces", name, ExtraArgs={"ACL": "public-read"})  # for webdataset
    return f"s3://{side}-faces"


def main() -> None:
    import logging
    import threading

    from moto.server import ThreadedMotoServer

    logging.disable(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
