from django.urls import URLPattern, URLResolver, path

from incidents.views.actions import IncidentActionView
from incidents.views.alerts import AlertDetailView, AlertListView, InboundEventDetailView, InboundEventListView
from incidents.views.analytics import AnalyticsView
from incidents.views.chat import SlackView, TextMessageView, VoiceCallView
from incidents.views.explaining import ExplainView, PolicyEditorView
from incidents.views.inbound import EventsApiView, InboundView
from incidents.views.incidents import (
    IncidentDetailView,
    IncidentListView,
    IncidentOpenView,
    SignedAcknowledgeView,
)
from incidents.views.integrations import IntegrationCreateView, IntegrationDetailView, IntegrationListView
from incidents.views.my_oncall import CalendarFeedView, MyOnCallView, ScheduleActionView
from incidents.views.oncall import OnCallView
from incidents.views.reviews import ReviewView
from incidents.views.silences import AlertGroupListView, SilenceAddView, SilenceDetailView, SilenceListView
from incidents.views.status import StatusPageListView, StatusPageView, SubscriptionView

app_name = "incidents"
urlpatterns: list[URLPattern | URLResolver] = [
    path("inbound/<slug:kind>", InboundView.as_view(), name="inbound_by_header"),
    path("inbound/<slug:kind>/", InboundView.as_view()),
    path("inbound/<slug:kind>/<str:token>", InboundView.as_view(), name="inbound"),
    path("inbound/<slug:kind>/<str:token>/", InboundView.as_view()),
    path("v2/enqueue", EventsApiView.as_view(), name="events_api"),
    path("v2/change/enqueue", EventsApiView.as_view(), name="events_api_change"),
    path("slack/action", SlackView.as_view(), {"what": "action"}, name="slack_action"),
    path("slack/command", SlackView.as_view(), {"what": "command"}, name="slack_command"),
    path("phone/text/<slug:slug>/", TextMessageView.as_view(), name="phone_text"),
    path("phone/voice/<str:token>/", VoiceCallView.as_view(), name="phone_voice"),
    path("alerts/", AlertListView.as_view(), name="alert_list"),
    path("alerts/<int:pk>/", AlertDetailView.as_view(), name="alert_detail"),
    path("alerts/events/", InboundEventListView.as_view(), name="inbound_list"),
    path("alerts/events/<str:reference>/", InboundEventDetailView.as_view(), name="inbound_detail"),
    path("alerts/rules/", PolicyEditorView.as_view(), name="policy_editor"),
    path("alerts/groups/", AlertGroupListView.as_view(), name="alert_group_list"),
    path("alerts/silences/", SilenceListView.as_view(), name="silence_list"),
    path("alerts/silences/add/", SilenceAddView.as_view(), name="silence_add"),
    path("alerts/silences/<str:reference>/", SilenceDetailView.as_view(), name="silence_detail"),
    path("alerts/integrations/", IntegrationListView.as_view(), name="integration_list"),
    path("alerts/integrations/add/", IntegrationCreateView.as_view(), name="integration_create"),
    path("alerts/integrations/<slug:slug>/", IntegrationDetailView.as_view(), name="integration_detail"),
    path("incidents/", IncidentListView.as_view(), name="incident_list"),
    path("incidents/analytics/", AnalyticsView.as_view(), name="analytics"),
    path("incidents/open/", IncidentOpenView.as_view(), name="incident_open"),
    path("incidents/acknowledge/<str:token>/", SignedAcknowledgeView.as_view(), name="acknowledge_by_link"),
    path("incidents/<str:reference>/", IncidentDetailView.as_view(), name="incident_detail"),
    path("incidents/<str:reference>/explain/", ExplainView.as_view(), name="explain"),
    path("incidents/<str:reference>/review/", ReviewView.as_view(), name="review"),
    path("incidents/<str:reference>/review/<slug:step>/", ReviewView.as_view(), name="review_step"),
    path("incidents/<str:reference>/<slug:step>/", IncidentActionView.as_view(), name="incident_action"),
    path("status/", StatusPageListView.as_view(), name="status_page_list"),
    path("status/subscriptions/<str:token>/", SubscriptionView.as_view(), name="status_subscription"),
    path("status/<slug:slug>/", StatusPageView.as_view(), name="status_page"),
    path("oncall/", OnCallView.as_view(), name="oncall_list"),
    path("oncall/me/", MyOnCallView.as_view(), name="my_oncall"),
    path("oncall/feed/<str:token>.ics", CalendarFeedView.as_view(), name="calendar_feed"),
    path("oncall/<slug:slug>/<slug:step>/", ScheduleActionView.as_view(), name="schedule_action"),
    path("oncall/<slug:slug>/", OnCallView.as_view(), name="oncall_detail"),
]
