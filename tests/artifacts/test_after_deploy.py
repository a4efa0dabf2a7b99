"""What a deploy does once the stack stands: programs, then functions; no failure is passed over."""

import json
import os
import subprocess
import sys

from tests.artifacts.packages import ROOT

PLUGIN = ROOT / "tools/serverless-after-deploy"
_RUN = """
const Plugin = require(process.argv[1]);
const [afterDeploy, pythonBin] = JSON.parse(process.argv[2]);
const provider = { getAwsSdkV3Config: async () => ({ region: 'eu-north-1' }) };
const service = { service: 'orders', custom: { afterDeploy, pythonRequirements: { pythonBin } },
  provider: { stage: 'dev' } };
const serverless = { service, serviceDir: process.cwd(), classes: { Error },
  getProvider: () => provider };
const plugin = new Plugin(serverless, {}, { log: { notice: (text) => console.log(text) } });
plugin.hooks['after:deploy:deploy']().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
"""


def after_deploy(*steps: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["node", "-e", _RUN, str(PLUGIN), json.dumps([steps, sys.executable])]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=120,
    )


def test_a_program_runs_as_part_of_the_deploy_and_says_what_it_did() -> None:
    done = after_deploy({"program": "this"})  # of Python's own, the one that takes any arguments
    assert done.returncode == 0, done.stderr
    assert "Errors should never pass silently." in done.stdout


def test_a_program_that_fails_fails_the_deploy_in_its_own_words() -> None:
    done = after_deploy(
        {"program": "tools.database_roles"},
        "migrate",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",  # nobody listens there
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_MAX_ATTEMPTS="1",
    )
    assert done.returncode == 1
    # Of this service, and in the provider's region: the endpoint was really asked.
    assert "tools.database_roles failed after the deploy: database_roles: orders: " in done.stderr
    assert "Could not connect to the endpoint URL" in done.stderr
    assert "migrate" not in done.stderr, "what comes after it must not run"
