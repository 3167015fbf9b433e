"""A night's evaluation report in Airflow's page: the link at the task `evaluate`, and the plugin that serves it.

Airflow finds the plugin by the package's entry point. The plugin shows reports, and nothing else, to whoever is logged
in.
"""

from datetime import date
from functools import cache
from typing import Any, ClassVar

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from headrace.infra import paths

PREFIX = "/headrace"


class ReportLink(BaseOperatorLink):
    name = "Evaluation report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Returns the address of the report of the night that the operator's `--date` names."""
        night = operator.arguments[operator.arguments.index("--date") + 1]
        return f"{conf.get('api', 'base_url').rstrip('/')}{PREFIX}/nights/{night}/report"


@cache
def application() -> Any:
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import FileResponse

    app = FastAPI(title="Headrace", dependencies=[Depends(get_user)])

    @app.get("/nights/{night}/report")
    def report(night: date) -> Any:
        path = paths.home() / "nights" / night.isoformat() / "evaluate" / "report.html"
        if not path.is_file():
            raise HTTPException(404, f"no report of the night {night}")
        return FileResponse(path)

    return app


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Makes the application at the first request: all processes of Airflow load the plugins, one needs this."""
    await application()(scope, receive, send)


class Reports(AirflowPlugin):
    name = "headrace"
    fastapi_apps: ClassVar = [{"app": serve, "url_prefix": PREFIX, "name": "headrace"}]
