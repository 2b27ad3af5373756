# VAE Cats. Options are Hydra's, typed as they are: make train data=cats model.latent_dim=64
# Variables of this file are in UPPER CASE and do not reach Hydra.

PYTHON ?= python3
VENV   ?= .venv

ARGS   ?=

RUN     := $(VENV)/bin/python -m
STAMP   := $(VENV)/.requirements

# Every name=value of the command line but the three above, quoted for the shell as it was typed, and ARGS; `make help
# NAME` turns them into --help.
quote    = '$(subst ','\'',$(1))'
typed    = $(if $(filter command,$(origin $(1))),$(call quote,$(1)=$(value $(1))))
OPTIONS := $(foreach name,$(sort $(filter-out PYTHON VENV ARGS,$(.VARIABLES))),$(call typed,$(name))) $(ARGS)

COMMANDS := demo data detector landmarks train sharpen refiner sweep compare predict export evaluate figures report reproduce check app web
ifneq ($(filter help,$(MAKECMDGOALS)),)
  ASKED   := $(filter-out help,$(MAKECMDGOALS))
  OPTIONS += --help
  $(if $(filter-out $(COMMANDS),$(ASKED)),$(error no options: $(filter-out $(COMMANDS),$(ASKED)); those with options are $(COMMANDS)))
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo data detector landmarks train sharpen refiner sweep compare predict export evaluate figures report reproduce pipeline check \
	app web bench test test-all lint format docs docs-serve docs-images requirements clean

help: ## this list; make help predict lists the options of predict
	@$(if $(ASKED),:,awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST))

setup: $(STAMP) ## bring the virtual environment up to date (every target does)

# The stamp is as new as the last installation. uv is taken from the PATH, else installed into the environment. Where
# Python may not keep the bytecode of what it imports, it is made here: every command starts three times as fast.
$(STAMP): requirements.txt requirements_dev.txt pyproject.toml
	@echo "setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@PATH="$(PATH):$(abspath $(VENV))/bin" uv pip install --quiet --python $(VENV)/bin/python \
		$(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode) -r requirements.txt -r requirements_dev.txt
	@PATH="$(PATH):$(abspath $(VENV))/bin" uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .
	@touch $@

demo: $(STAMP) ## the whole job on drawn cats: draw, align, train, sample
	@$(RUN) vae.train_model experiment=demo $(OPTIONS)

data: $(STAMP) ## photos to aligned faces: make data data=cats
	@$(RUN) vae.make_dataset $(OPTIONS)

detector: $(STAMP) ## how well data.align=detect finds faces: make detector photos=FOLDER
	@$(RUN) vae.evaluate_detector $(OPTIONS)

landmarks: $(STAMP) ## train the network of data.align=detect: make landmarks photos=[FOLDER] out=FOLDER
	@$(RUN) vae.train_landmarks $(OPTIONS)

train: $(STAMP) ## train a model: make train data=cats model.latent_dim=64 regularizer.beta=4
	@$(RUN) vae.train_model $(OPTIONS)

sharpen: $(STAMP) ## a second stage, in which a run learns fine texture: make sharpen init_from=models/latest
	@$(RUN) vae.train_model experiment=sharpen init_from=models/latest $(OPTIONS)

refiner: $(STAMP) ## train the network that enlarges drawn cats: make refiner data=cats
	@$(RUN) vae.train_refiner $(OPTIONS)

sweep: $(STAMP) ## train every combination: make sweep regularizer.beta=1,2,4 optimizer=adam,sgd
	@$(RUN) vae.train_model --multirun $(OPTIONS)

compare: $(STAMP) ## runs side by side: make compare runs=models/sweeps/DATE
	@$(RUN) vae.compare_runs $(OPTIONS)

predict: $(STAMP) ## new cats from the latest run: make predict num_images=64 seed=7
	@$(RUN) vae.predict_model $(OPTIONS)

export: $(STAMP) ## a folder to hand on, with a model card: make export run=models/latest out=FOLDER
	@$(RUN) vae.export_model $(OPTIONS)

evaluate: $(STAMP) ## measure a run beside PCA and real pictures: make evaluate run=models/latest
	@$(RUN) vae.evaluate_model $(OPTIONS)

figures: $(STAMP) ## draw every figure of a run: make figures run=models/latest
	@$(RUN) vae.draw_figures $(OPTIONS)

report: $(STAMP) ## write a run on one page, report.html: make report run=models/latest
	@$(RUN) vae.write_report $(OPTIONS)

reproduce: $(STAMP) ## train a run again and compare bit for bit: make reproduce run=models/latest
	@$(RUN) vae.reproduce_run $(OPTIONS)

pipeline: $(STAMP) ## make the stages of dvc.yaml that have changed: data, training, samples, metrics
	@PATH="$(abspath $(VENV))/bin:$$PATH" DVC_NO_ANALYTICS=1 $(VENV)/bin/dvc repro $(ARGS)

check: $(STAMP) ## are data sets and models still what was written?
	@$(RUN) vae.verify_files $(OPTIONS)

app: $(STAMP) ## a page in the browser: new cats, sliders, morphs, your own cat
	@$(RUN) vae.serve_app $(OPTIONS)

web: $(STAMP) ## a folder that draws cats in any browser, without a server: make web run=models/latest
	@$(RUN) vae.write_web_page $(OPTIONS)

# What the benchmarks compare with lies beside the environment, not in it.
bench: $(STAMP) $(VENV)/benchmarks ## measure beside what others use: make bench ARGS="step data"
	@PYTHONPATH=$(VENV)/benchmarks $(RUN) benchmarks $(ARGS)

$(VENV)/benchmarks: benchmarks/requirements.txt | $(STAMP)
	@PATH="$(PATH):$(abspath $(VENV))/bin" uv pip install --quiet --python $(VENV)/bin/python --no-deps \
		--target $@ -r $<
	@touch $@

test: $(STAMP) ## run the tests
	@$(RUN) pytest -n auto --dist loadfile $(ARGS)

test-all: $(STAMP) ## run the tests, the slow ones too
	@$(RUN) pytest -n auto --dist loadfile -m "" $(ARGS)

lint: $(STAMP) ## check the style
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

format: $(STAMP) ## format the code
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

docs: $(STAMP) ## build the documentation into docs/site
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --config-file docs/mkdocs.yml

docs-serve: $(STAMP) ## read the documentation in a browser
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs serve --config-file docs/mkdocs.yml

docs-images: $(STAMP) ## make the pictures of the documentation from models/runs/demo
	@$(VENV)/bin/python docs/images.py $(ARGS)
	@$(VENV)/bin/python docs/screenshots.py $(ARGS)
	@$(VENV)/bin/python docs/your_cat.py

requirements: ## compile requirements*.txt from the ranges in pyproject.toml (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra app --extra sweep pyproject.toml -o requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev pyproject.toml -c requirements.txt \
		-o requirements_dev.txt

clean: ## remove caches and the built documentation, no data and no models
	rm -rf .pytest_cache .ruff_cache docs/site
	find vae tests -name __pycache__ -prune -exec rm -rf {} +
