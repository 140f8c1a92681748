from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reliability", "0017_locationprobe")]

    operations = [
        migrations.CreateModel(
            name="TallyEdge",
            fields=[
                ("key", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
            ],
            options={"ordering": ("key",)},
        ),
        migrations.AlterField(
            model_name="tallyday",
            name="form",
            field=models.PositiveSmallIntegerField(
                choices=[(0, "Blocks"), (1, "Packed"), (2, "Thinned"), (3, "Edges")], default=0
            ),
        ),
    ]
