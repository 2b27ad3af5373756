"""PyTorch-VAE's way of a training epoch, written anew: picture files, Pillow, torchvision, float32, contiguous."""

import time
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.vanilla import Decoder, Encoder


class Pictures(Dataset):
    """Picture files, each opened, mirrored, resized and scaled when its turn comes."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        flip, resize = transforms.RandomHorizontalFlip(), transforms.Resize(size)
        self.transform = transforms.Compose([flip, resize, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as picture:
            return self.transform(picture.convert("RGB"))


class Step:
    """The network and Adam; one call is one training step on a batch."""

    def __init__(self, size: int, device: str = "cpu") -> None:
        self.device = device
        self.encoder, self.decoder = Encoder(size).to(device), Decoder(size).to(device)
        self.optimizer = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=1e-3)

    def __call__(self, x: torch.Tensor) -> float:
        x = x.to(self.device, non_blocking=True)
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = F.mse_loss(self.decoder(z), x)
        kl = (-0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)).mean()
        loss = reconstruction + 0.00025 * kl
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def pictures_per_second(folder: Path, size: int, batch: int, steps: int, workers: int, device: str = "cpu") -> float:
    """Load and step, from the second batch on: starting the workers does not count."""
    loader = DataLoader(
        Pictures(folder, size), batch, shuffle=True, num_workers=workers, drop_last=True, pin_memory=device != "cpu"
    )
    step, done, begun = Step(size, device), 0, 0.0
    while done <= steps:
        for x in loader:
            step(x)
            done += 1
            if done == 1:
                begun = time.perf_counter()
            if done > steps:
                break
    return steps * batch / (time.perf_counter() - begun)
