"""Uploads, analyses and lists by a generated client; prints how many operations it has."""

import io
import pathlib
import sys
import time

folder, url, key, data = sys.argv[1:]
sys.path.insert(0, folder)

from platform_client import AuthenticatedClient
from platform_client.api.analyses import analysis_base_create_analysis as create_analysis
from platform_client.api.analyses import analysis_base_get_analysis as get_analysis
from platform_client.api.analyses import analysis_base_list_analyses as list_analyses
from platform_client.api.datasets import analysis_base_get_dataset as get_dataset
from platform_client.api.datasets import analysis_base_list_datasets as list_datasets
from platform_client.api.datasets import analysis_base_upload_version as upload_version
from platform_client.models import (
    AnalysisBaseDatasetReference,
    AnalysisRequest,
    AnalysisSource,
    Problem,
    Status,
)
from platform_client.types import File

client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True, timeout=60)

body = File(payload=io.BytesIO(pathlib.Path(data).read_bytes()))
uploaded = upload_version.sync_detailed("from-a-client", client=client, body=body, format_="csv")
assert uploaded.status_code == 201, uploaded
version = uploaded.parsed
assert (version.dataset, version.version, version.bytes_) == ("from-a-client", 1, len(pathlib.Path(data).read_bytes()))
assert [column.name for column in version.columns] == ["id", "station", "temperature", "measured_on", "checked"]

request = AnalysisRequest(
    sources=[AnalysisSource(name="m", dataset=AnalysisBaseDatasetReference(name="from-a-client"))],
    sql="SELECT station, count(*) AS n, sum(temperature) AS total FROM m GROUP BY station ORDER BY station",
)
begun = create_analysis.sync_detailed(client=client, body=request, prefer="respond-async")
assert begun.status_code == 202, begun
analysis = begun.parsed
until = time.monotonic() + 120
while analysis.status in (Status.QUEUED, Status.RUNNING):
    assert time.monotonic() < until, analysis
    analysis = get_analysis.sync(analysis.id, client=client, wait=10)
assert analysis.status == Status.SUCCEEDED, analysis
rows = [(row["station"], row["n"], row["total"]) for row in analysis.result.rows]
assert rows == [("Port Stanley, West", 2, 16.0), ("Reykjavík", 3, 1.0), ('the "old" mill', 1, None)], rows
assert analysis.rows_read == 6, analysis

# Page by page, until there is no further one.
names, pages, cursor = [], 0, {}
while True:
    page = list_datasets.sync(client=client, limit=1, **cursor)
    names += [dataset.name for dataset in page.items]
    pages += 1
    if not page.next_cursor:
        break
    cursor = {"cursor": page.next_cursor}
assert "from-a-client" in names and pages >= len(names) > 0, names
assert analysis.id in [one.id for one in list_analyses.sync(client=client, limit=200).items]

missing = get_dataset.sync_detailed("nothing", client=client)
assert missing.status_code == 404 and isinstance(missing.parsed, Problem), missing
assert missing.parsed.type_ == "https://aisaas.dev/problems/not-found", missing.parsed

functions = pathlib.Path(folder, "platform_client", "api").glob("*/*.py")
print(len([path for path in functions if path.name != "__init__.py"]))
