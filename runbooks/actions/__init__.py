"""The typed actions of this room, in the one set that drivers keeps."""

from drivers.services import register_action
from runbooks.actions.load import DriveLoad
from runbooks.actions.outside import DoByHand, SendTask, SendWebhook
from runbooks.actions.plugins import load_plugins
from runbooks.actions.prometheus import QueryPrometheus
from runbooks.actions.remote import RunCommand, RunReadingCommand

for _action in (
    QueryPrometheus(),
    RunCommand(),
    RunReadingCommand(),
    SendWebhook(),
    SendTask(),
    DoByHand(),
    DriveLoad(),
):
    register_action(_action)

load_plugins()
