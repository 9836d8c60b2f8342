# `make demo` and `make test` need Python 3.11 or newer, git and make, and nothing else.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
INSTALLED := $(VENV)/.installed
UV_VENV := .lineact/uv
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
# recipes read what a user sets from the environment, so that blanks and quotes in it stay what they are
export NAME VIDEOS CROPS YOLO DATA_YAML NAMES DETECTOR FOUNDATION ACTIONS LINE REVIEWER PORT HOST TOKEN_FILE ALL WEIGHTS GENERAL
export CHANGES CLIP HOURS FORMAT TO FROM WHAT NUMBERED_FROM LINES SEEDS CHOICES LEAVE EXTRACTORS HEADS STEPS LABELLED SOURCE MINUTES
export EVENTS VIDEO CLIPS BLUR_REGIONS BLUR_FACES RINGS EXISTING CHECK MLFLOW_URL PREFECT_URL
export REFERENCE EVERY_H PER_YEAR ON_ALARM WORKERS SCHEDULER RESOURCE DRAWS
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/$(UV_VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo lines test test-services test-long try-label-studio system lint ui serve review review-export line activate \
  export-labels import-labels compare-detectors compare-classifiers compare-localizers live harvest shift publish monitor report forget \
  backup restore audit move-services move-embedded soak bench-live bench-label bench-audit bench-train bench-scale scheduler worker \
  bench-review lock clean

help:            ## these targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

setup: $(INSTALLED)  ## the virtual environment .venv from requirements.lock

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lineact needs Python 3.11 or newer (make PYTHON=python3.12 ...)")'
	@command -v uv >/dev/null || { $(PYTHON) -m venv $(UV_VENV) && $(UV_VENV)/bin/pip install -q uv; }
	test -x $(BIN)/python || uv venv -q --python $(PYTHON) $(VENV)
	uv pip sync -q --require-hashes --python $(BIN)/python requirements.lock
	@git config user.email >/dev/null || ! git rev-parse --git-dir >/dev/null 2>&1 || { \
	  git config user.name lineact && git config user.email lineact@localhost && \
	  echo "git knows no name of yours: in this checkout lineact@localhost signs (dvc exp run needs one); git config user.email changes it"; }
	@touch $@

demo: setup      ## line `demo` from raw video to a registered, benchmarked champion
	$(BIN)/python -m flows.retrain line=demo

lines: setup     ## the papers' three lines, one after the other
	for line in gi_d gi_wd ttp_wh; do \
	  $(BIN)/python -m flows.lines activate=$$line && $(BIN)/python -m flows.retrain line=$$line || exit; done

line: setup      ## NAME=press_a VIDEOS=DIR [DETECTOR=motion] [FOUNDATION=tiny] [ACTIONS=pick,place]; or CROPS=DIR; or YOLO=DIR
	$(BIN)/python -m flows.lines name="$$NAME" videos="$$VIDEOS" detector="$$DETECTOR" foundation="$$FOUNDATION" \
	  actions="$$ACTIONS" crops="$$CROPS" yolo="$$YOLO" data_yaml="$$DATA_YAML" names="$$NAMES" \
	  blur_regions="$$BLUR_REGIONS" blur_faces="$$BLUR_FACES"

activate: setup  ## LINE=gi_d: adds a line of conf/line/ to the active ones
	$(BIN)/python -m flows.lines activate="$$LINE"

review: setup    ## LINE=demo [REVIEWER=name] [PORT=8765] [HOST=0.0.0.0] [TOKEN_FILE=FILE]: the review page
	$(BIN)/python -m flows.review line="$$LINE" reviewer="$$REVIEWER" port="$$PORT" host="$$HOST" token_file="$$TOKEN_FILE"

review-export: setup  ## LINE=demo [ALL=yes]: writes decisions.csv from the review page's journal
	$(BIN)/python -m flows.review_export line="$$LINE" all="$$ALL"

export-labels: setup  ## LINE=demo FORMAT=label_studio|cvat|coco|yolo TO=DIR [WHAT=queue|frames|crops]: for other tools
	$(BIN)/python -m flows.export_labels line="$$LINE" format="$$FORMAT" to="$$TO" what="$$WHAT"

import-labels: setup  ## LINE=demo FORMAT=... FROM=FILE [REVIEWER=name] [NUMBERED_FROM=0]: decisions made in other tools
	$(BIN)/python -m flows.import_labels line="$$LINE" format="$$FORMAT" from="$$FROM" reviewer="$$REVIEWER" \
	  numbered_from="$$NUMBERED_FROM"

compare-detectors: setup  ## LINE=demo [WEIGHTS=DIR] [GENERAL=DIR]: Grounding DINO and two YOLOv5 at all pairs of thresholds
	$(BIN)/python -m flows.compare_detectors line="$$LINE" weights="$$WEIGHTS" general="$$GENERAL"

compare-classifiers: setup  ## LINES=demo,gi_d [SEEDS=0,1,2] [CHOICES=a,b] [FOUNDATION=hub] [LEAVE=line]: papers' table
	$(BIN)/python -m flows.compare_classifiers lines="$$LINES" seeds="$$SEEDS" choices="$$CHOICES" \
	  foundation="$$FOUNDATION" leave="$$LEAVE"

live: setup      ## LINE=demo [SOURCE=rtsp://...|/dev/video0|FILE] [PORT=8766]: the runtime with the line's release
	$(BIN)/python -m flows.live line="$$LINE" source="$$SOURCE" port="$$PORT"

harvest: setup   ## LINE=press_a [FROM=events/feedback]: what stations were unsure of becomes the next review's queue
	$(BIN)/python -m flows.harvest line="$$LINE" from="$$FROM" && $(BIN)/python -m flows.label_line line="$$LINE"

shift: setup     ## EVENTS=DIR [TO=shift.html] [LINE=demo] [VIDEO=FILE|DIR] [CLIPS=0]: a shift's report from events or segments
	$(BIN)/python -m lineact.runtime.shift --events "$$EVENTS" --out "$${TO:-shift.html}" $${VIDEO:+--video "$$VIDEO"} \
	  $${LINE:+--bundle "models/$$LINE/export/bundle"} $${CLIPS:+--clips "$$CLIPS"}

publish: setup   ## LINE=demo TO=/srv/bundles: the champion as files, for stations without the registry
	$(BIN)/python -m flows.publish line="$$LINE" to="$$TO"

monitor: setup   ## LINE=press_a [FROM=DIR] [REFERENCE=yes] [EVERY_H=24] [PER_YEAR=1] [ON_ALARM=tell|review|retrain]: drift
	$(BIN)/python -m flows.monitor line="$$LINE" from="$$FROM" reference="$$REFERENCE" every_h="$$EVERY_H" \
	  per_year="$$PER_YEAR" on_alarm="$$ON_ALARM"

report: setup    ## [LINE=demo] [TO=DIR] [MLFLOW_URL=...] [PREFECT_URL=...]: a page for each line and one for the plant
	$(BIN)/python -m flows.report line="$$LINE" to="$$TO" mlflow="$$MLFLOW_URL" prefect="$$PREFECT_URL"

forget: setup    ## VIDEO=data/press_a/raw/rec_1.mp4 [RINGS=DIR,DIR]: a recording and all that was cut from it goes
	$(BIN)/python -m flows.forget video="$$VIDEO" rings="$$RINGS"

backup: setup    ## [TO=DIR]: decisions, ledgers, settings, MLflow's database and artefacts, released bundles
	$(BIN)/python -m flows.backup to="$$TO"

restore: setup   ## FROM=FILE [EXISTING=keep|overwrite] [CHECK=yes]: brings back what `make backup` kept
	$(BIN)/python -m flows.restore from="$$FROM" existing="$$EXISTING" check="$$CHECK"

soak: setup      ## LINE=demo [MINUTES=30]: the runtime on a camera and a broker that come and go, for a long time
	$(BIN)/python -m tests.soak --bundle "models/$$LINE/export/bundle" --video "$$(ls data/$$LINE/raw/* | tail -1)" \
	  --minutes "$${MINUTES:-30}" --out ".lineact/soak/$$(date +%Y%m%dT%H%M%S)"

compare-localizers: setup  ## LINES=ua [EXTRACTORS=...] [HEADS=...] [STEPS=...] [LABELLED=1,0.1] [SEEDS=0] [CHANGES=none,A]: when each action was
	$(BIN)/python -m flows.compare_localizers lines="$$LINES" extractors="$$EXTRACTORS" heads="$$HEADS" \
	  steps="$$STEPS" labelled="$$LABELLED" seeds="$$SEEDS" changes="$$CHANGES"

bench-live: setup  ## LINE=demo [CLIP=FILE] [HOURS=1]: the runtime beside ultralytics' predict and timm; memory over hours
	$(BIN)/python -m flows.bench_live line="$$LINE" clip="$$CLIP" hours="$$HOURS"

bench-label: setup  ## LINE=demo: Grounding DINO's labelling beside a plain loop with the same weights
	$(BIN)/python -m flows.bench_label line="$$LINE"

bench-audit: setup  ## LINE=demo [DRAWS=200]: how right labels are over redraws of the random crops that calibrate
	$(BIN)/python -m flows.bench_audit line="$$LINE" draws="$$DRAWS"

bench-train: setup  ## training beside a plain loop with 1,000 to 100,000 generated crops (4 GB of disk for the while)
	$(BIN)/python -m flows.bench_train

bench-scale: setup  ## LINE=demo [WORKERS=1,2] [DETECTOR=...]: ingest, detect and embed in one process and on a cluster's workers
	$(BIN)/python -m flows.bench_scale line="$$LINE" workers="$$WORKERS" detector="$$DETECTOR"

bench-review: setup  ## the review page with 100,000 queued crops, in a driven Chromium
	$(BIN)/python -m flows.bench_review

ui: setup        ## MLflow's UI on 127.0.0.1:5000
	$(BIN)/python -m flows.ui port="$$PORT"

move-services: setup  ## MLflow, Prefect and DVC go from this checkout to the services of conf/services.yaml; nothing is lost
	$(BIN)/python -m flows.move to=services

move-embedded: setup  ## and back
	$(BIN)/python -m flows.move to=embedded

serve: setup     ## a Prefect server with one scheduled deployment per active line
	$(BIN)/python -m flows.serve port="$$PORT"

scheduler: setup  ## [HOST=10.0.0.5] [PORT=8786]: the scheduler of a Dask cluster, for lines with `compute: dask`
	$(BIN)/python -m dask scheduler --host "$${HOST:-127.0.0.1}" --port "$${PORT:-8786}" --no-dashboard --dashboard-address 127.0.0.1:0

worker: setup    ## [SCHEDULER=tcp://10.0.0.5:8786] [HOST=10.0.0.6] [RESOURCE=CPU]: a worker of it, one recording at a time
	$(BIN)/python -m dask worker "$${SCHEDULER:-tcp://127.0.0.1:8786}" --host "$${HOST:-127.0.0.1}" --nthreads 1 --no-dashboard \
	  --dashboard-address 127.0.0.1:0 --resources "$${RESOURCE:-CPU}=1"

lint: setup      ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint       ## lint and the fast tests, two at a time; no root, no network
	$(BIN)/pytest -n 2

test-services: setup  ## what needs a standing server or more than seconds
	$(BIN)/pytest -n 2 --dist loadfile -m '(slow or services or browser or real_data) and not long'

test-long: setup ## whole trainings: two lines at once under kills; a line on PostgreSQL and S3
	$(BIN)/pytest -m long

audit: setup     ## known weaknesses of the packages in requirements.lock; ends with an error where that cannot be asked
	$(BIN)/python -m flows.audit

try-label-studio: setup  ## installs a real Label Studio (0.8 GB, package index) and sends a queue there and back
	$(BIN)/pytest -m label_studio -s tests/test_label_studio.py

system:          ## system packages that the tests need: git, Chromium, an MQTT broker, an RTSP server, PostgreSQL (root)
	apt-get update -q && apt-get install -y -q --no-install-recommends git chromium fonts-dejavu-core mosquitto postgresql \
	  python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

lock: setup      ## requirements.lock anew from pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --all-extras pyproject.toml -o requirements.lock
