"""Our LocalStack plugin. This module is imported at LocalStack's start, so it stays light."""

from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Chosen by LAMBDA_RUNTIME_EXECUTOR=process."""

    name = "process"

    def load(self, *_args: object, **_kwargs: object) -> type[RuntimeExecutor]:
        """Give LocalStack the class that it makes execution environments of."""
        from localcloud.plugin.executor import ProcessExecutor  # noqa: PLC0415

        return ProcessExecutor
