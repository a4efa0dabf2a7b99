"""Which CloudFormation types exist: those that this LocalStack can make, and no others.

LocalStack fetches that list. Without a network it knows of none, and then refuses every type or,
with CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES=1, leaves the unknown ones out without a word.
"""

from localstack.utils.catalog.catalog import AwsCatalogRuntimePlugin
from localstack.utils.catalog.common import (
    CloudFormationResourcesSupportAtRuntime,
    CloudFormationResourcesSupportInLatest,
)


class InstalledTypes(AwsCatalogRuntimePlugin):
    """The catalogue of what is installed."""

    # The one name that LocalStack asks for before it would fetch.
    name = "aws-catalog-remote-state-with-license"

    def get_cloudformation_resource_status(
        self,
        resource_name: str,
        service_name: str,  # noqa: ARG002 (LocalStack's signature)
        is_pro_resource: bool = False,  # noqa: ARG002
    ) -> CloudFormationResourcesSupportAtRuntime | CloudFormationResourcesSupportInLatest:
        """Called for each resource of a change set, `resource_name` being its type."""
        custom = resource_name.startswith("Custom::")  # Made by a function, whatever its name.
        if custom or resource_name in self._get_cfn_resources_available_at_runtime():
            return CloudFormationResourcesSupportAtRuntime.AVAILABLE
        return CloudFormationResourcesSupportInLatest.NOT_SUPPORTED
