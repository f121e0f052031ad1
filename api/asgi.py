"""The application of this installation, for servers: ``uvicorn api.asgi:app --no-server-header --no-access-log``.

On start it refuses a database whose schema is not this code's.
"""

from api.app import create_app
from calendar_pipeline import logs
from calendar_pipeline.settings import Settings

settings = Settings.load()
logs.configure(settings)
app = create_app(settings)
