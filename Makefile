.PHONY: test
test:
	python3 -m venv .venv && .venv/bin/pip install -q uv && .venv/bin/uv pip sync -q requirements/dev.lock
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy . && .venv/bin/lint-imports && .venv/bin/python manage.py makemigrations --check --dry-run && .venv/bin/pytest -q
