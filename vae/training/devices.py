"""The device of a training: its precision, and what to do when its memory is full."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vae.cli.errors import EnvironmentProblem


def auto_precision(accelerator: str) -> str:
    """Return bf16-mixed where the device computes in bfloat16, else 32-true.

    Args:
        accelerator: Lightning's name of the device, or `auto`.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"


@contextmanager
def explain_out_of_memory(batch_size: int) -> Iterator[None]:
    """Turn the error of a device whose memory is full into one line that names a batch size to try.

    Raises:
        EnvironmentProblem: the memory is full.
    """
    try:
        yield
    except RuntimeError as error:
        full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not full:
            raise
        hint = "take smaller model.channels or data.image_size"
        if batch_size > 1:
            hint = f"try data.batch_size={batch_size // 2} (trainer.accumulate_grad_batches=2 keeps the steps as large)"
        raise EnvironmentProblem(f"out of memory at data.batch_size={batch_size}: {hint}") from error
