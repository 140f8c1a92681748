"""Ask the organization's own scanner about files that people bring."""

import shlex
import subprocess

from django.conf import settings

DEADLINE_SECONDS = 60


def scanner_objects(content: bytes) -> str:
    """Return why a file must not be kept, or nothing; also nothing where no scanner is configured.

    `ASSAY_UPLOAD_SCANNER` is a command that reads the file from its standard input, ends with 0 when it is clean and
    with 1 when it is not (as `clamdscan --no-summary -` does). A scanner that cannot say is an objection too.
    """
    command = shlex.split(settings.UPLOAD_SCANNER)
    if not command:
        return ""
    try:
        ended = subprocess.run(  # noqa: S603 the command of the site's own configuration, without a shell
            command,
            input=content,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the upload scanner did not answer in {DEADLINE_SECONDS} s, so the file was not kept; send it again"
    except OSError as error:
        return f"the upload scanner could not be started ({error.strerror}), so the file was not kept"
    if ended.returncode == 0:
        return ""
    if ended.returncode == 1:
        return "the upload scanner found something harmful in it"
    return f"the upload scanner could not tell (it ended with {ended.returncode}), so the file was not kept"
