from django.urls import URLPattern, URLResolver

app_name = "drivers"
urlpatterns: list[URLPattern | URLResolver] = []
