from django.urls import URLPattern, URLResolver

app_name = "runbooks"
urlpatterns: list[URLPattern | URLResolver] = []
