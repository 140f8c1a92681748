"""Settings of the site; every choice that differs between machines comes from `config.environment`."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from config.databases import database_from_url, replica_from_url
from config.environment import ROOT, Environment, previous_keys_for, secret_key_for

ENVIRONMENT = Environment()
BASE_DIR = ROOT
STATE_DIR: Path = ENVIRONMENT.assay_state_dir.resolve()

DEBUG = ENVIRONMENT.assay_debug
SECRET_KEY = secret_key_for(ENVIRONMENT)
SECRET_KEY_FALLBACKS = previous_keys_for(ENVIRONMENT)
ALLOWED_HOSTS = list(ENVIRONMENT.assay_allowed_hosts)
SITE_URL = ENVIRONMENT.assay_site_url
CSRF_TRUSTED_ORIGINS = [SITE_URL]

INSTALLED_APPS = [
    "core",
    "delivery",
    "ledger",
    "accounts",
    "drivers",
    "catalog",
    "reliability",
    "runbooks",
    "incidents",
    "chaos",
    "compliance",
    "custody",
    "portal",
    "demo",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "django_typer",
]

MIDDLEWARE = [
    "core.middleware.RequestIdMiddleware",
    "core.middleware.ClientAddressMiddleware",
    "core.middleware.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.SessionMiddleware",
    "accounts.middleware.PrincipalMiddleware",
    "core.middleware.ReaderTimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.SignInAgainMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "custody.middleware.ResidencyMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "core.context.site",
            ],
            "builtins": ["core.templatetags.assay"],
        },
    }
]

DATABASES = {"default": database_from_url(ENVIRONMENT.database_url, state_dir=STATE_DIR)}
if ENVIRONMENT.replica_database_url:
    DATABASES["replica"] = replica_from_url(ENVIRONMENT.replica_database_url, state_dir=STATE_DIR)
    DATABASE_ROUTERS = ["core.replicas.ReplicaRouter"]
REPLICA_MAX_LAG = timedelta(seconds=ENVIRONMENT.assay_replica_max_lag)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "portal:home"
LOGOUT_REDIRECT_URL = "accounts:login"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "accounts.directory.DirectoryBackend"]
# django-allauth does the protocols; who may sign in, and what follows from it, is decided by `accounts`.
ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# Its own limits live in a process's memory; `SignInFailure` counts over all processes instead.
ACCOUNT_RATE_LIMITS: bool | dict[str, str] = False
SOCIALACCOUNT_ADAPTER = "accounts.adapters.ProviderAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True
ACCOUNT_FORMS = {"reauthenticate": "accounts.factor_forms.PasswordAgainForm"}
MFA_ADAPTER = "accounts.adapters.FactorAdapter"
MFA_RATE_LIMITS: bool | dict[str, str] = False
MFA_FORMS = {
    "authenticate": "accounts.factor_forms.CodeForm",
    "reauthenticate": "accounts.factor_forms.CodeAgainForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Assay"
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Browsers keep credentials to secure origins and to this machine; the plain address of a fresh machine is the latter.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SITE_URL.startswith("https://")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = ENVIRONMENT.assay_static_dir or STATE_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(STATE_DIR / "files")},
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Collected files lie beside their compressed copies; what is found in the source tree would be served instead of them.
WHITENOISE_USE_FINDERS = ENVIRONMENT.assay_static_dir is None

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
_TLS = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = _TLS
CSRF_COOKIE_SECURE = _TLS
SECURE_HSTS_SECONDS = 31_536_000 if _TLS else 0
TRUST_PROXY = ENVIRONMENT.assay_trust_proxy
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY else None
SECURE_SSL_REDIRECT = _TLS and TRUST_PROXY
# Whatever port the plain request came to; probes are answered before this is asked.
SECURE_SSL_HOST = urlsplit(SITE_URL).netloc
# W005, W021: whether other sites of the domain use TLS is not this site's to promise. W008: without a proxy that says
# how the request came, a redirect would go round in circles; with one, see ASSAY_TRUST_PROXY.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", *([] if SECURE_SSL_REDIRECT else ["security.W008"])]
CSRF_FAILURE_VIEW = "portal.views.foreign_form"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.PrincipalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "core.api.BoundedPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.json_body.StrictJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["core.throttling.RequestThrottle"],
    "EXCEPTION_HANDLER": "core.api.answer_exception",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Assay",
    "DESCRIPTION": "Reliability and governance: SLOs, incidents, runbooks, chaos and recovery tests, evidence.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    # Choices stay where they are used: many rooms have a `state`, and a shared name for each set would be arbitrary.
    "POSTPROCESSING_HOOKS": ["core.api_schema.describe_refusals"],
}

CELERY_BROKER_URL = ENVIRONMENT.broker_url or f"atomicfile://localhost{STATE_DIR / 'broker'}"
ARTIFACT_STORE_URL = ENVIRONMENT.artifact_store_url or f"file://{STATE_DIR / 'artifacts'}"
LEDGER_ORIGIN = urlsplit(SITE_URL).netloc or "assay"
LEDGER_KEY_FILE = STATE_DIR / "ledger_key"
WEB_STATEMENT_SECONDS = ENVIRONMENT.assay_web_statement_seconds
# Web processes say every 15 s that they live; off only where one is imported and serves nobody.
WEB_BEATS = True
UPLOAD_SCANNER = ENVIRONMENT.assay_upload_scanner
TELEMETRY_RATE = ENVIRONMENT.assay_telemetry_rate
API_RATE = ENVIRONMENT.assay_api_rate
TRUST_PROXY = ENVIRONMENT.assay_trust_proxy
REGION = ENVIRONMENT.assay_region
ARTIFACT_REGION = ENVIRONMENT.assay_artifact_region
REGION_NETWORKS = ENVIRONMENT.assay_region_networks
OUTBOUND_ALLOW = ENVIRONMENT.assay_outbound_allow
RUNBOOK_TASKS = ENVIRONMENT.assay_runbook_tasks

EMAIL_URL = ENVIRONMENT.assay_email_url
DEFAULT_FROM_EMAIL = ENVIRONMENT.assay_email_from
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend" if EMAIL_URL else "django.core.mail.backends.filebased.EmailBackend"
)
EMAIL_FILE_PATH = STATE_DIR / "mail"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.assay_log_level},
}
