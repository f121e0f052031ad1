"""The application of this installation, for servers: ``uvicorn api.asgi:app --no-server-header --no-access-log``.

On start it refuses a database whose schema is not this code's.
"""

from api.app import create_app
from calendar_pipeline.settings import Settings

app = create_app(Settings.load())
