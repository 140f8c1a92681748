from django.urls import URLPattern, URLResolver, path

from drivers.api import ActionDetailApi, ActionListApi, ActionPlanApi, AgentPollApi

urlpatterns: list[URLPattern | URLResolver] = [
    path("agents/poll/", AgentPollApi.as_view(), name="agent_poll"),
    path("drivers/actions/", ActionListApi.as_view(), name="driver_actions"),
    path("drivers/actions/<str:name>/", ActionDetailApi.as_view(), name="driver_action"),
    path("drivers/actions/<str:name>/plan/", ActionPlanApi.as_view(), name="driver_action_plan"),
]
