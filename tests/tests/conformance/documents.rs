//! The documents of the APIs are OpenAPI 3.1.

use ai_saas_platform_tests::command::repository_argument;
use ai_saas_platform_tests::python;
use anyhow::Result;
use serde_json::Value;

use crate::folder::Folder;

const VALIDATE: &str = r#"
import json, sys
from openapi_spec_validator import OpenAPIV31SpecValidator

mistakes = []
for path in sys.argv[1:]:
    with open(path) as file:
        document = json.load(file)
    if not document["openapi"].startswith("3.1."):
        mistakes.append(f"{path}: is of OpenAPI {document['openapi']}")
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        mistakes.append(f"{path}: {error}")
sys.exit("\n".join(mistakes) or 0)
"#;

/// Those that are checked in, and the joined one of a gateway that runs.
pub async fn are_valid(folder: &Folder, joined: &Value) -> Result<()> {
    let joined = folder.write("joined.json", joined)?;
    let analysis_base = repository_argument("services/analysis-base/openapi.json");
    let monolith = repository_argument("services/monolith/openapi.json");
    python::evaluate(VALIDATE, &[&analysis_base, &monolith, &joined]).await.map(drop)
}
