from django.utils.safestring import mark_safe

from core.templatetags.assay import coded


def test_what_stands_between_backticks_is_code_and_all_else_is_text() -> None:
    assert coded("As `INC-3`, not <b>") == "As <code>INC-3</code>, not &lt;b&gt;"
    assert coded("`<script>`") == "<code>&lt;script&gt;</code>"
    assert coded("a ` alone") == "a ` alone"


def test_markup_stays_markup() -> None:
    assert coded(mark_safe("<ul><li>long</li></ul>")) == "<ul><li>long</li></ul>"
