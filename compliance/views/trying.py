"""The page on which a rule is tried before it judges anything."""

import yaml
from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.services import principal_of
from compliance.forms import TryRuleForm
from compliance.models import Check
from compliance.services.trying import Tried, try_rule
from compliance.views.base import ComplianceView
from core.parsing import InputRefusedError


class TryRuleView(ComplianceView):
    """Does this rule say what I mean?"""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not self.access.everything:
            raise Http404("Rules are tried by those who see all of compliance.")
        number = request.GET.get("check", "")
        check = Check.objects.filter(pk=int(number)).first() if number.isdecimal() else None
        return self._page(
            request, TryRuleForm(initial={"rule": yaml.safe_dump(check.rule, sort_keys=False)} if check else None), None
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        if not self.access.everything:
            raise Http404("Rules are tried by those who see all of compliance.")
        form, found = TryRuleForm(request.POST), None
        if form.is_valid():
            try:
                found = try_rule(principal=principal_of(request), **form.cleaned_data)
            except InputRefusedError as error:
                for problem in error.problems:
                    field = "samples" if problem.where.startswith("samples") else "rule"
                    form.add_error(field, f"{problem.where}: found {problem.found}; {problem.allowed}.")
        return self._page(request, form, found)

    def _page(self, request: HttpRequest, form: forms.Form, found: list[Tried] | None) -> HttpResponse:
        context = {
            "title": "Try a rule",
            "intro": "On sample entries, or on what the ledger holds. Nothing is kept, nothing is judged.",
            "form": form,
            "found": found,
            "passed": sum(one.verdict == "passes" for one in found or ()),
            "looked": sum(one.verdict != "not looked at" for one in found or ()),
        }
        return render(request, "compliance/try_rule.html", context, status=400 if form.errors else 200)
