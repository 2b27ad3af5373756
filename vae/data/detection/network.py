"""The landmark network: proposals of faces in a small photo, and nine landmarks in a crop of one face.

Two fully convolutional parts that share a file. `Proposals` looks at a photo and says for each cell of 8×8 pixels
whether a face is centred there, and where its eyes and mouth are, as CenterNet does (Zhou et al. 2019). `Landmarks`
looks at a crop that a proposal gives, and answers with nine heatmaps, whose expectations are the landmarks (integral
regression, Sun et al. 2018, eq. 2), and with the logit of "this is the face of a cat".
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 8  # pixels of the photo for each cell of the proposals, in each direction
OFFSET = 16.0  # pixels; unit of the offsets that `Proposals` computes
CROP = 96  # pixels; side of the crops of `Landmarks`
HEATMAP = 24  # cells; side of the heatmaps
POINTS = 9  # left eye, right eye, mouth, left ear 1–3, right ear 1–3


class Block(nn.Module):
    """A 3×3 convolution, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` → `(B, C', ⌈H / stride⌉, ⌈W / stride⌉)`."""
        return self.norm(self.conv(x)).relu_()

    def fuse(self) -> None:
        """Fold the normalisation into the convolution, for inference."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class Proposals(nn.Module):
    """Where in a photo faces might be.

    >>> Proposals()(torch.zeros(1, 3, 96, 72)).shape
    torch.Size([1, 7, 12, 9])
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Block(3, 16, stride=2),
            Block(16, 32, stride=2),
            Block(32, 64, stride=2),
            Block(64, 64),
            Block(64, 64, dilation=2),
            Block(64, 64, dilation=4),
        )
        self.head = nn.Conv2d(64, 7, 1)
        nn.init.constant_(self.head.bias, 0.0)
        nn.init.constant_(self.head.bias[:1], -4.0)  # faces are rare (Lin et al. 2017, section 4.1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute for each cell the logit of a face, and the offsets of its eyes and mouth.

        Args:
            x: `(B, 3, H, W)` in [-1, 1].

        Returns:
            `(B, 7, ⌈H / 8⌉, ⌈W / 8⌉)`: a logit, then x and y of left eye, right eye and mouth relative to the centre
            of the cell, in units of `OFFSET` pixels.
        """
        return self.head(self.blocks(x))


class Landmarks(nn.Module):
    """Nine landmarks in a crop of one face.

    >>> points, logit, _ = Landmarks()(torch.zeros(2, 3, 96, 96))
    >>> points.shape, logit.shape
    (torch.Size([2, 9, 2]), torch.Size([2]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(Block(3, 32, stride=2), Block(32, 64, stride=2), Block(64, 64))
        self.middle = nn.Sequential(Block(64, 96, stride=2), Block(96, 96))
        self.coarse = nn.Sequential(Block(96, 112, stride=2), Block(112, 112), Block(112, 112))
        self.up_coarse = nn.Conv2d(112, 96, 1)
        self.merge_middle = Block(96, 96)
        self.up_middle = nn.Conv2d(96, 64, 1)
        self.merge_fine = Block(64, 64)
        self.heatmaps = nn.Conv2d(64, POINTS, 1)
        self.face = nn.Linear(112, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute landmarks.

        Args:
            x: `(B, 3, 96, 96)` in [-1, 1].

        Returns:
            the landmarks `(B, 9, 2)` in pixels of the crop, (0, 0) the centre of its top left pixel; the logit of a
            face `(B,)`; the logarithms of the heatmaps `(B, 9, 24·24)`, normalised.
        """
        fine = self.fine(x)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.merge_middle(middle + _doubled(self.up_coarse(coarse)))
        fine = self.merge_fine(fine + _doubled(self.up_middle(middle)))
        log_heat = self.heatmaps(fine).flatten(2).log_softmax(-1)
        points = expectation(log_heat.exp(), x.shape[-1])
        return points, self.face(coarse.mean((2, 3)))[:, 0], log_heat


class LandmarkNetwork(nn.Module):
    """Both parts, which are trained, saved and loaded together."""

    def __init__(self) -> None:
        super().__init__()
        self.proposals = Proposals()
        self.landmarks = Landmarks()

    def fuse(self) -> "LandmarkNetwork":
        """Make the network ready for inference; it cannot be trained afterwards."""
        self.eval().requires_grad_(False)
        for module in list(self.modules()):
            if isinstance(module, Block):
                module.fuse()
        return self.to(memory_format=torch.channels_last)


def centres(cells: int, side: int) -> Tensor:
    """Return the centres of `cells` cells that divide `side` pixels, in pixels; pixel 0 has its centre at 0."""
    return (torch.arange(cells) + 0.5) * (side / cells) - 0.5


def expectation(heat: Tensor, side: int) -> Tensor:
    """Return the mean of each heatmap (Sun et al. 2018, eq. 2), `(B, P, cells²)` → `(B, P, 2)`, x and y in pixels."""
    cells = round(heat.shape[-1] ** 0.5)
    place = centres(cells, side).to(heat)
    heat = heat.unflatten(-1, (cells, cells))
    return torch.stack([heat.sum(-2) @ place, heat.sum(-1) @ place], -1)


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
