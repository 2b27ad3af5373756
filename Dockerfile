# docker build -t vae-cats .                            for NVIDIA GPUs (and without one)
# docker build -t vae-cats --build-arg DEVICE=cpu .     without CUDA's libraries, some gigabytes smaller
# docker run --rm --gpus all -v "$PWD/data:/vae-cats/data" -v "$PWD/models:/vae-cats/models" vae-cats train data=cats
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends make git && rm -rf /var/lib/apt/lists/*
WORKDIR /vae-cats

# The packages first: another line of code does not install them again.
ARG DEVICE=cuda
COPY Makefile pyproject.toml README.md LICENSE requirements.txt requirements_dev.txt ./
RUN mkdir -p vae hydra_plugins configs models/cats64 && touch vae/__init__.py \
    && if [ "$DEVICE" = cpu ]; then \
        sed -i -E '/^nvidia-ml-py/! { /^(nvidia|cuda|triton)/d }' requirements*.txt && export UV_TORCH_BACKEND=cpu; \
    fi \
    && make setup && rm -rf /root/.cache
COPY . .
RUN make setup

EXPOSE 7860
ENTRYPOINT ["make"]
CMD ["help"]
