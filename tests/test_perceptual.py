"""`likelihood=perceptual`: the layers of VGG, and the download of their weights from a server of this machine."""

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

from vae.cli.errors import EnvironmentProblem, InputError
from vae.models.likelihoods import Energy
from vae.models.perceptual import MEAN, STD, DeepFeatures

WEIGHTS = torchvision.models.VGG19_Weights.IMAGENET1K_V1


def random_weights() -> dict[str, torch.Tensor]:
    """Return weights of VGG19 up to relu3_1, as torchvision names them."""
    torch.manual_seed(0)
    sizes = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}
    convs = {number: torch.nn.Conv2d(*size, 3) for number, size in sizes.items()}
    return {f"features.{number}.{name}": p for number, conv in convs.items() for name, p in conv.state_dict().items()}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """`server(content)` → the address of a file with its checksum in its name, and an empty cache of `torch.hub`."""
    served = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    def serve(content: bytes, name: str | None = None) -> str:
        path = f"/vgg19-{name or hashlib.sha256(content).hexdigest()[:8]}.pth"
        served[path] = content
        return f"http://127.0.0.1:{listening.server_port}{path}"

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield serve
    listening.shutdown()
    listening.server_close()


def use(monkeypatch, url: str) -> None:
    """Let torchvision name another address for the weights."""
    value = WEIGHTS.value
    monkeypatch.setattr(WEIGHTS, "_value_", torchvision.models.Weights(url, value.transforms, value.meta))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_distance_is_that_of_the_layers_of_torchvision(vgg, images):
    network = torchvision.models.vgg19().features[:12]
    network.load_state_dict({name.removeprefix("features."): value for name, value in random_weights().items()})
    x = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    expected, h = 0, x
    for number, layer in enumerate(network):
        h = layer(h)
        if number in (1, 6, 11):  # relu1_1, relu2_1, relu3_1
            expected = expected + 0.5 * (h[0] - h[1]).square().mean()
    torch.testing.assert_close(DeepFeatures()(images[:1], images[1:]), expected)


def test_a_likelihood_does_not_carry_the_weights(vgg, images):
    likelihood = Energy(DeepFeatures(layers=["relu2_1"]), weight=2.0)
    params = images.clone().requires_grad_()
    likelihood.log_prob(params, images.flip(0)).sum().backward()
    assert params.grad.any() and not likelihood.state_dict() and not [*likelihood.parameters()]


def test_the_weights_are_downloaded_once(server, images, monkeypatch, tmp_path, capsys):
    content = io.BytesIO()
    torch.save(random_weights(), content)
    use(monkeypatch, server(content.getvalue()))
    distance = DeepFeatures()(images[:1], images[1:])
    assert len([*(tmp_path / "hub" / "checkpoints").iterdir()]) == 1
    monkeypatch.setattr("torch.hub.download_url_to_file", None)
    torch.testing.assert_close(DeepFeatures()(images[:1], images[1:]), distance)


@pytest.mark.parametrize("fault", ["missing", "damaged", "no network"])
def test_a_download_that_fails_says_which_file_belongs_where(server, images, monkeypatch, tmp_path, fault):
    url = server(b"not the weights", "0123abcd")
    url = {"missing": url.replace("0123", "4567"), "damaged": url, "no network": "http://127.0.0.1:9/vgg19-0.pth"}[
        fault
    ]
    use(monkeypatch, url)
    with pytest.raises(EnvironmentProblem, match=f"download {url} to {tmp_path}/hub/checkpoints/vgg19") as error:
        DeepFeatures()(images[:1], images[1:])
    assert "\n" not in str(error.value)


def test_layers_that_do_not_exist():
    with pytest.raises(InputError, match="likelihood.loss.network must be one of vgg16, vgg19"):
        DeepFeatures("alexnet")
    for layers in ([], ["relu6_1"], ["relu1_1", "relu3_4"]):
        with pytest.raises(InputError, match="likelihood.loss.layers must be a list of relu1_1"):
            DeepFeatures("vgg16", layers)
