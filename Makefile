# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer; they install into .venv first.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/installed
DOCUMENTED := $(VENV)/documented
RCNN := $(VENV)/bin/lightning-rcnn
DEMO := demo
# Keep compiled modules, also where the environment says otherwise: each process of the tests would compile them again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo test end-to-end docs lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  PYTHON=python3.12, for example, chooses another interpreter."

install: $(INSTALLED)  ## install the package and its tools into .venv

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks the venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@

demo: install  ## train on generated scenes and show its detections in others
	rm -rf $(DEMO)
	$(RCNN) pack shapes --out $(DEMO)/train --num 1000 --seed 0
	$(RCNN) pack shapes --out $(DEMO)/val --num 100 --seed 1
	$(RCNN) fit --config configs/mask_rcnn/r18_fpn_shapes.yaml \
		--data.train $(DEMO)/train --data.val $(DEMO)/val --run_dir $(DEMO)/run
	$(RCNN) pack shapes --out $(DEMO)/others --num 12 --seed 2
	$(RCNN) detect --checkpoint $(DEMO)/run/checkpoints/best.ckpt --images $(DEMO)/others --out $(DEMO)/detections
	@echo "Metrics: $(DEMO)/run/metrics.json"
	@echo "Images: $(DEMO)/run/images/validation.jpg (ground truth beside detections), $(DEMO)/detections/images"

test: lint  ## lint, check types, run the tests that take seconds at most
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

end-to-end: install  ## run the tests that train, compile, export, serve or submit jobs to SLURM
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup -m "end_to_end and not slow and not gpu"

docs: $(DOCUMENTED)  ## build the site into site/, strictly and without a network
	NO_MKDOCS_2_WARNING=true $(VENV)/bin/mkdocs build --strict --quiet
	@echo "The site: site/index.html"

$(DOCUMENTED): $(INSTALLED)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[docs]'
	@touch $@

lint: install  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: install  ## format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## remove the installation, caches and the demo
	rm -rf $(VENV) $(DEMO) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
