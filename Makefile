# The whole project by name: run `make` to see what there is. Rules for experiments are not written
# here: ired/lab/targets/make_rules.py derives them from pipeline.json, for the goals of each call.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

# What to run. Given on the command line: make P1-03 PROFILE=tiny SEED=3
PROFILE = small
SEED = 0
SEEDS =
VARIANT = none
DEVICE = auto
ARGS =
PORT = 5000
HOST =

# Where to run it, as jobs of Slurm: make phase2 ON=slurm, with more time or memory than planned.
ON =
TIME =
MEM =
EARLY_POLL = 60
EXP =
PHASE =

# What to run it with.
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

# What was given is text: make would expand what it finds in it, $(shell ...) even, at every use and
# once more for the environment of a recipe.
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(TYPED),$(eval export override $(name) := $$(value $(name))))
$(foreach name,PYTHON VENV TORCH_INDEX,$(eval override $(name) := $$(value $(name))))

export PYTHONPATH := .

quote = '$(subst ','\'',$(1))'
COORDINATES = --profile $(call quote,$(PROFILE)) --seed $(call quote,$(SEED)) \
	--variant $(call quote,$(VARIANT))
RUN = $(VENV)/bin/python
ANY = $(if $(wildcard $(RUN)),$(RUN),$(call quote,$(PYTHON)))
LAB = $(ANY) -m ired.lab.targets
STATUS = $(LAB).status $(COORDINATES)
# Only coordinates that were given: make cancel PHASE=2 means every seed of it.
given = $(if $(filter $(1),$(TYPED)),$(2) $(call quote,$($(1))))
JOBS = $(call given,PROFILE,--profile) $(call given,SEED,--seed) $(call given,VARIANT,--variant) \
	--exp=$(call quote,$(EXP)) --phase=$(call quote,$(PHASE))
# ARGS as words, each quoted: the shell would run what is in them.
split = import shlex, sys; print(shlex.join(shlex.split(sys.argv[1])))
WORDS = $(if $(strip $(ARGS)),$(or $(shell $(ANY) -c '$(split)' $(call quote,$(ARGS)) 2> /dev/null),\
	$(error error: ARGS: a quotation is not closed in '$(ARGS)')))

# It stands in targets and at the beginning of commands as it is, where make reads + @ and - as its own.
ifneq ($(shell case $(call quote,$(VENV)) in ([!A-Za-z0-9_./~]*|*[!A-Za-z0-9_./~+@%=-]*|'') echo odd; esac),)
$(error error: VENV must be one path without spaces, of letters, digits and _./~+@%=- (the last five not \
	at its beginning), not '$(VENV)')
endif

# The environment is ready when it carries the mark of the present requirements.
PINS := $(firstword $(shell cat requirements.txt $(wildcard requirements.lock) | cksum))
READY := $(VENV)/.ired-$(PINS)

EXPERIMENTS := $(filter SETUP-% P% phase% all,$(MAKECMDGOALS))
ifneq ($(filter-out slurm,$(ON)),)
$(error error: ON is '$(ON)': leave it out to run here, or say ON=slurm)
endif
ifneq ($(and $(ON),$(EXPERIMENTS)),)
# A line with + runs under -n, and under -q and -t too: all of them ask for nothing to be done.
FLAGS = $(firstword -$(MAKEFLAGS))
DRY = $(if $(findstring n,$(FLAGS))$(findstring q,$(FLAGS))$(findstring t,$(FLAGS)),--dry)
.PHONY: on-slurm $(EXPERIMENTS)
$(EXPERIMENTS): on-slurm ; $(if $(DRY),,@:)
on-slurm: | $(READY) # a job starts in this folder, where a relative path holds
	+@$(if $(filter-out .venv,$(VENV)),IRED_PYTHON=$(RUN) )$(ANY) -m ired.cluster.submission submit $(DRY) $(COORDINATES) \
	  --device $(call quote,$(DEVICE)) --args=$(call quote,$(ARGS)) --seeds=$(call quote,$(SEEDS)) \
	  --time=$(call quote,$(TIME)) --mem=$(call quote,$(MEM)) --poll=$(call quote,$(EARLY_POLL)) \
	  $(foreach goal,$(EXPERIMENTS),$(call quote,$(goal)))
else ifneq ($(EXPERIMENTS),)
PLAN := $(shell $(call quote,$(PYTHON)) -m ired.lab.targets.make_rules $(COORDINATES) --device $(call quote,$(DEVICE)) \
	--args=$(call quote,$(ARGS)) --seeds=$(call quote,$(SEEDS)) $(foreach goal,$(EXPERIMENTS),$(call quote,$(goal))))
ifneq ($(firstword $(PLAN)),planned)
$(error $(or $(PLAN),error: '$(PYTHON)' could not plan this; is it python 3.11 or newer?))
endif
include $(lastword $(PLAN))
endif

PEERS := $(VENV)/.peers-$(firstword $(shell cksum $(wildcard benchmarks/requirements.txt) < /dev/null))

.PHONY: help setup check test bench growth accuracy retrain status logs cancel report findings ui server sync doctor lock docs site clean

help: ## this list
	@printf '%s\n' 'make TARGET [PROFILE=small] [SEED=0] [VARIANT=none] [DEVICE=auto] [ARGS="..."]' ''
	@printf '  %-18s %s\n' \
	  'phase1 ... phase7' 'a phase and what it needs, then a short table' \
	  'all' 'all 39 experiments' \
	  'P1-03, SETUP-2 ...' 'one and what it needs; ARGS="--points 10" goes to it alone' \
	  '' 'SEEDS="0 1 2": several seeds, side by side if cores allow' \
	  '' 'ON=slurm: as jobs of Slurm; TIME=8:00:00 MEM=32G: with more'
	@sed -nE "s/^([a-z]+):[^#]*## (.*)/\1\t\2/p" Makefile \
	  | while IFS=$$'\t' read -r name text; do printf '  %-18s %s\n' "$$name" "$$text"; done
	@printf '%s\n' '' \
	  'Profiles: tiny (seconds), small (a laptop), paper and paper-std (published size,' \
	  'models kept), paper-gpu (the same, trained anew and longer).' \
	  'PYTHON=python3.12 makes the environment with that one; VENV=path uses another;' \
	  'TORCH_INDEX=address installs torch from that index (a CPU or CUDA build).'

setup: $(READY) ## make the environment: .venv with requirements.txt

$(READY): # no prerequisites: its name holds the hash of what it depends on
	@$(call quote,$(PYTHON)) -m ired.lab.targets.environment $(VENV) --mark $@ --torch-index $(call quote,$(TORCH_INDEX))

check: $(READY) ## mistakes, layout and types of the code, in seconds
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --check --quiet
	@$(RUN) -m mypy --no-error-summary

test: $(READY) ## the tests (tiny profile)
	$(RUN) -m pytest $(WORDS)

bench: $(READY) $(PEERS) ## ratios of speed; ARGS="--official PATH": to the release
	PYTHONPATH=.:$(PEERS) $(RUN) -m benchmarks $(WORDS)

growth: $(READY) ## how cost grows with n and batch: docs/figures/growth.png
	$(RUN) -m benchmarks.growth $(WORDS)

accuracy: $(READY) ## is a model trained the fast way as good as the plain one?
	$(RUN) -m benchmarks.accuracy $(WORDS)

$(PEERS): benchmarks/requirements.txt | $(READY)
	@$(RUN) -m pip install --quiet --no-deps --target $@.part -r $< && rm -rf $@ && mv $@.part $@

retrain: $(READY) ## train a model anew and keep it for its PROFILE
	$(if $(ON),$(error error: retrain keeps what it trained, so it waits for it: leave out ON=$(ON)))
	@$(MAKE) SETUP-3 ARGS=$(call quote,--retrain $(ARGS))
	@$(LAB).keep_model $(COORDINATES) --retrain $(WORDS)

status: ## the queue: state, estimate, time and memory, result
	@$(STATUS)

logs: ## the end of a job's last log: EXP=P2-02 or PHASE=2
	@$(ANY) -m ired.cluster.submission logs $(JOBS)

cancel: ## cancel jobs and what needs them: EXP=P2-02 or PHASE=2
	@$(ANY) -m ired.cluster.submission cancel $(JOBS)

report: $(READY) ## what was learned, on a page; SEEDS="1 2": more seeds count
	@$(RUN) -m ired.report.build $(COORDINATES) --seeds=$(call quote,$(SEEDS))

findings: $(READY) ## docs/findings.md, or findings-PROFILE.md, from this store
	@$(RUN) -m ired.report.build $(COORDINATES) --seeds=$(call quote,$(SEEDS)) --findings

ui: $(READY) ## the MLflow UI on this store, at 127.0.0.1:PORT
	@$(LAB).ui --port $(call quote,$(PORT))

server: $(READY) ## a tracking server at HOST PORT; STORE=postgresql://host/db
	@$(RUN) -m ired.cluster.server --host $(call quote,$(HOST)) --port $(call quote,$(PORT))

sync: $(READY) ## deliver runs whose tracking server was out of reach
	@$(RUN) -m ired.cluster.sync

doctor: ## what is wrong with this machine, and what to do about it
	@$(call quote,$(PYTHON)) -m ired.lab.targets.doctor --venv $(call quote,$(VENV)) --mark $(READY)

lock: $(READY) ## write requirements.lock from what is installed
	@$(call quote,$(PYTHON)) -m ired.lab.targets.environment $(VENV) --lock

docs: ## renew docs/experiments.md, the table of experiments
	@$(call quote,$(PYTHON)) -m ired.lab.targets.experiments_page

site: ## write what sbatch/site.sh says into the wrappers beside it
	@$(call quote,$(PYTHON)) -m ired.cluster.site

clean: ## remove caches and finished work folders, never results
	@$(call quote,$(PYTHON)) -m ired.lab.targets.clean
